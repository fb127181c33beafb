"""A load test's plan: what is compared, on which problems, by which clients, and when."""

import difflib
import tomllib
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

Share = Annotated[float, Field(ge=0, le=1)]
Effort = Literal["auto", "none", "minimal", "low", "medium", "high", "xhigh", "max"]
Client = Literal["waiting", "disconnecting", "slow", "malformed"]
_URL = r"^https?://"


class PlanError(Exception):
    """A plan that cannot be run; the message has a line for each problem."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Problems(_Table):
    """Where the conversations come from: a file, or the demo domain (`tops problems`).

    A file, gzipped or not, is JSON Lines of `problem_id`, `prompt` and `answer`, the answer left
    out where there is none, or of conversations: ShareGPT's, MT-bench's `turns`, `messages`. `n`
    conversations are by default all of a file, or 300; `seed` and `steps` are the demo domain's,
    steps as a range or as a mix of ranges, `{"1-3" = 0.7, "8-10" = 0.3}`. `turns` problems, or at
    most so many of a conversation's own, make a conversation; the answers in it are what the
    server gave. After each of them the client sends so many `tool_results`, as an agent does.
    """

    file: Path | None = None
    n: int | None = Field(default=None, ge=1)
    seed: int = 0
    steps: str | dict[str, Annotated[float, Field(gt=0)]] = "1-10"
    turns: int = Field(default=1, ge=1)
    tool_results: int = Field(default=0, ge=0)


class Clients(_Table):
    """Shares of the clients that are no pleasure; all others wait for their whole answer.

    `disconnecting` ones leave after so many events, `slow` ones take so many bytes a second,
    `malformed` ones ask what cannot be answered and should be told so.
    """

    disconnecting: Share = 0.0
    slow: Share = 0.0
    malformed: Share = 0.0
    leave_after: int = Field(default=5, ge=1)
    slow_bytes: int = Field(default=2000, ge=1)

    @model_validator(mode="after")
    def _one_each(self) -> "Clients":
        if self.disconnecting + self.slow + self.malformed > 1:
            raise ValueError("the shares add up to more than 1")
        return self


def _reachable(url: str | None) -> str | None:
    """As it is, where its port is one.

    Raises:
        ValueError: it is none.
    """
    if url is not None:
        _ = urlsplit(url).port
    return url


class Arm(_Table):
    """One way of asking; `budget` is a range of thinking tokens, drawn evenly per request.

    `url` and `model` are this arm's where it asks another server than the others.
    """

    name: str
    effort: Effort = "auto"
    budget: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]] | None = None
    url: Annotated[str | None, AfterValidator(_reachable)] = Field(None, pattern=_URL)
    model: str | None = None

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
    to `to`; burst, `size` at once; trace, when the lines of a `file` say, `speed` times as fast.
    Their times count from when a request was due.
    """

    kind: Literal["closed", "constant", "poisson", "ramp", "burst", "trace"] = "closed"
    rate: float | None = Field(default=None, gt=0)
    to: float | None = Field(default=None, gt=0)
    size: int = Field(default=10, ge=1)
    file: Path | None = None
    speed: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _complete(self) -> "Arrivals":
        if (self.kind in ("closed", "trace")) != (self.rate is None):
            raise ValueError("open loops, and nothing else, need a rate; a trace has its own")
        if (self.kind == "trace") != (self.file is not None):
            raise ValueError("a trace, and nothing else, needs a file")
        if (self.kind == "ramp") != (self.to is not None):
            raise ValueError("a ramp, and nothing else, needs to")
        return self


class Slo(_Table):
    """What a good answer keeps to, in milliseconds; what is left out is not asked for."""

    ttft_ms: float | None = Field(None, gt=0)
    tpot_ms: float | None = Field(None, gt=0)
    latency_ms: float | None = Field(None, gt=0)


class Plan(_Table):
    """Every conversation is had once in every arm, in random order; `seed` fixes the order.

    `baseline` names the arm that the others are held against.
    """

    url: Annotated[str, AfterValidator(_reachable)] = Field(pattern=_URL)
    model: str = "demo"
    api_key_env: str | None = None
    concurrency: int = Field(4, ge=1)
    arrivals: Arrivals = Arrivals()
    seed: int = 0
    temperature: float | None = Field(None, ge=0)
    max_tokens: int | None = Field(None, ge=1)
    timeout_seconds: float = Field(600, gt=0)
    """How long a request may take in all, from its being sent."""

    slo: Slo | None = None
    problems: Problems = Problems()
    clients: Clients = Clients()
    arms: tuple[Arm, ...] = Field(min_length=1)
    baseline: str | None = None

    @field_validator("arms")
    @classmethod
    def _distinct(cls, arms: tuple[Arm, ...]) -> tuple[Arm, ...]:
        if len({arm.name for arm in arms}) < len(arms):
            raise ValueError("two arms have the same name")
        return arms

    @model_validator(mode="after")
    def _known(self) -> "Plan":
        if self.baseline is not None and self.baseline not in {arm.name for arm in self.arms}:
            raise ValueError(f"baseline: there is no arm {self.baseline}")
        return self


def read_plan(file: Path, url: str | None = None) -> Plan:
    """Read a plan, with its `url` replaced where one is given.

    Files that it names are beside it.

    Raises:
        PlanError: it is not there, is not TOML, or has an unknown or unusable key.
    """
    try:
        table = tomllib.loads(file.read_text())
        plan = Plan.model_validate({**table, "url": url} if url else table)
        return _beside(plan, file.parent)
    except OSError as error:
        raise PlanError(f"{file}: {error.strerror}") from error
    except ValidationError as error:
        raise PlanError(_explain(file, error)) from error
    except ValueError as error:
        raise PlanError(f"{file}: {error}") from error


def _beside(plan: Plan, folder: Path) -> Plan:
    tables = {
        name: table.model_copy(update={"file": folder / table.file})
        for name, table in (("problems", plan.problems), ("arrivals", plan.arrivals))
        if table.file is not None
    }
    return plan.model_copy(update=tables)


def _explain(file: Path, error: ValidationError) -> str:
    known = [
        name
        for table in (Plan, Arrivals, Slo, Problems, Clients, Arm)
        for name in table.model_fields
    ]
    lines: list[str] = []
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            near = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1, cutoff=0)
            message = f"unknown key: did you mean {near[0]}?"
        lines.append(f"{file}: {where}: {message}")
    return "\n".join(lines)
