"""The section `test:` of the YAML file, for `piimage test`."""

from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from piimage.config.values import TEXT_OR_LIST, Interval, Name, Part, Strings, form, problem


def _command(value: object) -> object:
    return ("sh", "-c", value) if isinstance(value, str) else value


class Check(Part):
    """One check of `piimage test`: a program, a URL, or text on the console."""

    name: str | None = Field(default=None, description="Name of the check in the report.")
    run: Annotated[Strings, BeforeValidator(_command), TEXT_OR_LIST] | None = Field(
        default=None,
        description="Program with arguments, or a line for sh, to run on the appliance.",
    )
    service: Name | None = Field(
        default=None, description="With run: run it in the container of this service."
    )
    http: Annotated[str, *form(r"https?://[^\s]+", "URL", "http://HOST:PORT/PATH")] | None = Field(
        default=None, description="URL that the appliance requests."
    )
    console: str | None = Field(default=None, description="Text that has to appear on the console.")
    expect: str | None = Field(
        default=None, description="Text that the output or response has to contain."
    )
    matches: str | None = Field(
        default=None, description="Regular expression that the output or response has to match."
    )
    exit_code: int = Field(default=0, ge=0, le=255, description="With run: the expected exit code.")
    status: int = Field(default=200, ge=100, le=599, description="With http: the expected status.")
    timeout: Interval = Field(
        default=60, description="The check is repeated until it passes, at most for this time."
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        ways = [way for way in ("run", "http", "console") if getattr(self, way) is not None]
        if len(ways) != 1:
            content = " and ".join(ways) if ways else "nothing to do"
            raise problem(f"a check with {content}", "exactly one of run, http, console")
        if self.service is not None and self.run is None:
            raise problem("service without run", "run: as well")
        return self

    @property
    def title(self) -> str:
        """The name of the check, or its program, URL or text."""
        return self.name or self.http or self.console or " ".join(self.run or ())


class TestPlan(Part):
    """The checks of `piimage test`, which start once every service is healthy."""

    timeout: Interval = Field(
        default=300, description="Time until every service has to be healthy."
    )
    checks: tuple[Check, ...] = Field(
        default=(), description="Checks, which run one after another."
    )
