"""A load test's plan: what is compared, on which problems, how many requests at a time."""

import difflib
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

Effort = Literal["auto", "none", "minimal", "low", "medium", "high", "xhigh", "max"]


class PlanError(Exception):
    """A plan that cannot be run; the message has a line for each problem."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Problems(_Table):
    """Where the problems come from: a JSON Lines file, or the demo domain (`tops problems`).

    `n` is by default all of a file, or 300; `seed` and `steps` are the demo domain's.
    """

    file: Path | None = None
    n: int | None = Field(default=None, ge=1)
    seed: int = 0
    steps: str = "1-10"


class Arm(_Table):
    """One way of asking; `budget` is a range of thinking tokens, drawn evenly per request."""

    name: str
    effort: Effort = "auto"
    budget: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]] | None = None

    @field_validator("budget")
    @classmethod
    def _rising(cls, budget: tuple[int, int] | None) -> tuple[int, int] | None:
        if budget and budget[0] > budget[1]:
            raise ValueError("a budget's range goes from low to high")
        return budget


class Arrivals(_Table):
    """When requests are due.

    closed: `concurrency` clients, each asking again once answered. Open loops, at `rate` requests a
    second whatever the server does: constant; poisson; ramp, poisson with a rate that rises evenly
    to `to`; burst, `size` at once. Their times count from when a request was due.
    """

    kind: Literal["closed", "constant", "poisson", "ramp", "burst"] = "closed"
    rate: float | None = Field(default=None, gt=0)
    to: float | None = Field(default=None, gt=0)
    size: int = Field(default=10, ge=1)

    @model_validator(mode="after")
    def _complete(self) -> "Arrivals":
        if self.kind != "closed" and self.rate is None:
            raise ValueError(f"kind {self.kind} needs a rate")
        if (self.kind == "ramp") != (self.to is not None):
            raise ValueError("a ramp, and nothing else, needs to")
        return self


class Slo(_Table):
    """What a good answer keeps to, in milliseconds; what is left out is not asked for."""

    ttft_ms: float | None = Field(None, gt=0)
    tpot_ms: float | None = Field(None, gt=0)
    latency_ms: float | None = Field(None, gt=0)


class Plan(_Table):
    """Every problem is asked once in every arm, in random order; `seed` fixes the order."""

    url: str = Field(pattern=r"^https?://")
    model: str = "demo"
    api_key_env: str | None = None
    concurrency: int = Field(4, ge=1)
    arrivals: Arrivals = Arrivals()
    seed: int = 0
    temperature: float | None = Field(None, ge=0)
    max_tokens: int | None = Field(None, ge=1)
    timeout_seconds: float = Field(600, gt=0)
    slo: Slo | None = None
    problems: Problems = Problems()
    arms: tuple[Arm, ...] = Field(min_length=1)

    @field_validator("arms")
    @classmethod
    def _distinct(cls, arms: tuple[Arm, ...]) -> tuple[Arm, ...]:
        if len({arm.name for arm in arms}) < len(arms):
            raise ValueError("two arms have the same name")
        return arms


def read_plan(file: Path, url: str | None = None) -> Plan:
    """Read a plan, with its `url` replaced where one is given.

    Raises:
        PlanError: it is not there, is not TOML, or has an unknown or unusable key.
    """
    try:
        table = tomllib.loads(file.read_text())
        return Plan.model_validate({**table, "url": url} if url else table)
    except OSError as error:
        raise PlanError(f"{file}: {error.strerror}") from error
    except ValidationError as error:
        raise PlanError(_explain(file, error)) from error
    except ValueError as error:
        raise PlanError(f"{file}: {error}") from error


def _explain(file: Path, error: ValidationError) -> str:
    known = [name for table in (Plan, Arrivals, Slo, Problems, Arm) for name in table.model_fields]
    lines: list[str] = []
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            near = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1, cutoff=0)
            message = f"unknown key: did you mean {near[0]}?"
        lines.append(f"{file}: {where}: {message}")
    return "\n".join(lines)
