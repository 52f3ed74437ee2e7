"""The section `test:`, for `piimage test`."""

from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from piimage.config.values import TEXT_OR_LIST, Interval, Name, Part, Strings, form, problem


def _command(value: object) -> object:
    return ("sh", "-c", value) if isinstance(value, str) else value


class Check(Part):
    """One check of `piimage test`: a program, an address, or a text on the console."""

    name: str | None = Field(default=None, description="Its name in the report.")
    run: Annotated[Strings, BeforeValidator(_command), TEXT_OR_LIST] | None = Field(
        default=None, description="A program, or a line for sh, run on the appliance."
    )
    service: Name | None = Field(default=None, description="With run: inside this service.")
    http: Annotated[str, *form(r"https?://[^\s]+", "URL", "http://HOST:PORT/PATH")] | None = Field(
        default=None, description="An address, asked from the appliance."
    )
    console: str | None = Field(default=None, description="A text awaited on the console.")
    expect: str | None = Field(default=None, description="A text that the answer contains.")
    matches: str | None = Field(default=None, description="A regular expression in the answer.")
    exit_code: int = Field(default=0, ge=0, le=255, description="With run: the exit code.")
    status: int = Field(default=200, ge=100, le=599, description="With http: the status.")
    timeout: Interval = Field(default=60, description="It is tried until then.")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        ways = [way for way in ("run", "http", "console") if getattr(self, way) is not None]
        if len(ways) != 1:
            what = " and ".join(ways) if ways else "nothing to do"
            raise problem(f"a check with {what}", "exactly one of run, http, console")
        if self.service is not None and self.run is None:
            raise problem("service without run", "run: with it")
        return self

    @property
    def title(self) -> str:
        """Its name, or what it does."""
        return self.name or self.http or self.console or " ".join(self.run or ())


class TestPlan(Part):
    """What `piimage test` does once every service is healthy."""

    timeout: Interval = Field(default=300, description="Until every service is healthy.")
    checks: tuple[Check, ...] = Field(default=(), description="Made one after another.")
