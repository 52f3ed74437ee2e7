"""The section `test:` of the YAML file, for `piimage test`."""

from typing import Annotated, Final, Self

from pydantic import BeforeValidator, Field, model_validator

from piimage.config.values import TEXT_OR_LIST, Interval, Name, Part, Strings, form, problem

_WAYS: Final = ("run", "http", "console", "sensor")
SensorValue = Annotated[
    str,
    *form(
        r"[a-z][a-z0-9_]*\.[a-z_]+(\.[a-z0-9_-]+)?",
        "value of a sensor",
        "NAME.QUANTITY, such as greenhouse.temperature",
    ),
]


def _command(value: object) -> object:
    return ("sh", "-c", value) if isinstance(value, str) else value


class Check(Part):
    """One check of `piimage test`: a program, a URL, text on the console, or a sensor's value."""

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
    sensor: SensorValue | None = Field(
        default=None,
        description="Value that `use: sensors` has to publish: NAME.QUANTITY, such as "
        "greenhouse.temperature, or NAME.QUANTITY.CHANNEL; without a channel, each one counts.",
    )
    within: tuple[float, float] | None = Field(
        default=None,
        description="With sensor: the lowest and the highest value, in the unit of its metric.",
    )
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
        ways = [way for way in _WAYS if getattr(self, way) is not None]
        if len(ways) != 1:
            content = " and ".join(ways) if ways else "nothing to do"
            raise problem(f"a check with {content}", f"exactly one of {', '.join(_WAYS)}")
        if self.service is not None and self.run is None:
            raise problem("service without run", "run: as well")
        if (self.sensor is None) != (self.within is None):
            raise problem("sensor: and within: belong together", "both, or neither")
        if self.within is not None and self.within[0] > self.within[1]:
            raise problem(
                f"no value is within [{self.within[0]:g}, {self.within[1]:g}]",
                "the lower value first",
            )
        return self

    @property
    def title(self) -> str:
        """The name of the check, or its program, URL, text or value."""
        return self.name or self.http or self.console or self.sensor or " ".join(self.run or ())


class TestPlan(Part):
    """The checks of `piimage test`, which start once every service is healthy."""

    timeout: Interval = Field(
        default=300, description="Time until every service has to be healthy."
    )
    checks: tuple[Check, ...] = Field(
        default=(), description="Checks, which run one after another."
    )
