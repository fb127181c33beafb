"""The plan of a load test: arms, problems, clients and arrivals, read from a TOML file."""

import difflib
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, cast
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
Client = Literal["normal", "disconnecting", "slow", "malformed", "closing"]
_URL = r"^https?://"


class PlanError(Exception):
    """A plan that cannot be run; the message has one line per problem."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    renamed: ClassVar[Mapping[str, str]] = {}
    """Current keys by their former names, which are accepted with a warning."""

    @model_validator(mode="before")
    @classmethod
    def _accept_former_names(cls, table: Any) -> Any:
        if not isinstance(table, dict):
            return table
        current = cast("dict[str, Any]", table).copy()
        for former, name in cls.renamed.items():
            if former in current:
                if name in current:
                    raise ValueError(f"{former} is the old name of {name}: set only {name}")
                print(f"warning: plan: {former} is deprecated: use {name}", file=sys.stderr)
                current[name] = current.pop(former)
        return current


class Problems(_Table):
    """The source of the conversations: a file, or the demo domain (`tops problems`).

    Attributes:
        file: JSON Lines, gzipped or not, of `problem_id`, `prompt` and an optional `answer`, or of
            conversations: ShareGPT's, MT-bench's `turns`, or OpenAI's `messages`.
        n: the number of conversations; by default all of a file, or 300 demo conversations.
        seed: the demo domain's.
        steps: the demo domain's difficulty, as a range or as a mix of ranges with their shares,
            `{"1-3" = 0.7, "8-10" = 0.3}`.
        turns: problems per conversation, or the maximum that is used of a conversation's own
            turns. The answers in a conversation are those that the server gave.
        tool_results: tool results that the client sends after each problem, as an agent does.
    """

    file: Path | None = None
    n: int | None = Field(default=None, ge=1)
    seed: int = 0
    steps: str | dict[str, Annotated[float, Field(gt=0)]] = "1-10"
    turns: int = Field(default=1, ge=1)
    tool_results: int = Field(default=0, ge=0)


class Clients(_Table):
    """Shares of misbehaving clients; all others read their answer as it arrives.

    Attributes:
        disconnecting: share of clients that disconnect after `disconnect_after` events.
        slow: share of clients that read `slow_bytes_per_second`.
        malformed: share of clients that send an invalid request, which must be refused.
        closing: share of clients that close their connection at `[DONE]`, as the OpenAI SDKs do.
    """

    renamed = {"leave_after": "disconnect_after", "slow_bytes": "slow_bytes_per_second"}

    disconnecting: Share = 0.0
    slow: Share = 0.0
    malformed: Share = 0.0
    closing: Share = 0.0
    disconnect_after: int = Field(default=5, ge=1)
    slow_bytes_per_second: int = Field(default=2000, ge=1)

    @model_validator(mode="after")
    def _at_most_all(self) -> "Clients":
        if self.disconnecting + self.slow + self.malformed + self.closing > 1:
            raise ValueError("the shares add up to more than 1")
        return self


def _valid_port(url: str | None) -> str | None:
    """Returns the URL unchanged.

    Raises:
        ValueError: its port is no port number.
    """
    if url is not None:
        _ = urlsplit(url).port
    return url


class Arm(_Table):
    """A configuration under test.

    Attributes:
        budget: range of thinking tokens; each conversation draws its budget uniformly from it.
        url: the arm's own server, where it differs from the plan's.
        model: the arm's own model, where it differs from the plan's.
    """

    name: str
    effort: Effort = "auto"
    budget: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]] | None = None
    url: Annotated[str | None, AfterValidator(_valid_port)] = Field(None, pattern=_URL)
    model: str | None = None

    @field_validator("budget")
    @classmethod
    def _ascending(cls, budget: tuple[int, int] | None) -> tuple[int, int] | None:
        if budget and budget[0] > budget[1]:
            raise ValueError("a budget's range goes from low to high")
        return budget


class Arrivals(_Table):
    """When requests are sent.

    `closed` is a closed loop: `concurrency` clients, each of which sends its next conversation once
    the previous one is finished. All other kinds are open loops, whose times do not depend on the
    server; latencies then count from the scheduled time.

    Attributes:
        kind: `constant` and `poisson` send `rate` requests per second; `ramp` is Poisson with a
            rate that rises linearly to `final_rate`; `burst` sends `burst_size` at once; `trace`
            replays the times in `file`, `speed` times as fast; `sweep` is Poisson for
            `stage_seconds` at a time, at rates that double up to `final_rate`, until requests no
            longer keep the plan's SLO.
    """

    renamed = {"to": "final_rate", "size": "burst_size"}

    kind: Literal["closed", "constant", "poisson", "ramp", "burst", "trace", "sweep"] = "closed"
    rate: float | None = Field(default=None, gt=0)
    final_rate: float | None = Field(default=None, gt=0)
    stage_seconds: float = Field(default=20, gt=0)
    burst_size: int = Field(default=10, ge=1)
    file: Path | None = None
    speed: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _complete(self) -> "Arrivals":
        if (self.kind in ("closed", "trace")) != (self.rate is None):
            raise ValueError("arrivals need a rate, except for closed and trace, which have none")
        if (self.kind == "trace") != (self.file is not None):
            raise ValueError("a trace, and nothing else, needs a file")
        if (self.kind in ("ramp", "sweep")) != (self.final_rate is not None):
            raise ValueError("a ramp and a sweep, and nothing else, need final_rate")
        return self


class Slo(_Table):
    """Limits in milliseconds that a request must keep to count as goodput; all are optional."""

    ttft_ms: float | None = Field(None, gt=0)
    tpot_ms: float | None = Field(None, gt=0)
    latency_ms: float | None = Field(None, gt=0)


class Plan(_Table):
    """Every conversation runs once in every arm, in random order.

    Attributes:
        url: the server's base URL, with `/v1`.
        api_key_env: the environment variable that holds the API key.
        concurrency: clients of a closed loop.
        seed: fixes the order, the budgets, the clients and the arrival times.
        timeout_seconds: for a whole request, from when it is sent.
        warmup_seconds: requests scheduled in these first seconds are sent, but do not count.
        baseline: the arm that the others are compared with.
    """

    url: Annotated[str, AfterValidator(_valid_port)] = Field(pattern=_URL)
    model: str = "demo"
    api_key_env: str | None = None
    concurrency: int = Field(4, ge=1)
    arrivals: Arrivals = Arrivals()
    seed: int = 0
    temperature: float | None = Field(None, ge=0)
    max_tokens: int | None = Field(None, ge=1)
    timeout_seconds: float = Field(600, gt=0)
    warmup_seconds: float = Field(0, ge=0)
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
    def _consistent(self) -> "Plan":
        if self.baseline is not None and self.baseline not in {arm.name for arm in self.arms}:
            raise ValueError(f"baseline: there is no arm {self.baseline}")
        if self.arrivals.kind == "sweep" and not (
            self.slo and self.slo.model_dump(exclude_none=True)
        ):
            raise ValueError("a sweep needs an [slo], which says when the server is saturated")
        return self


def read_plan(file: Path, url: str | None = None) -> Plan:
    """Read a plan; `url` replaces its own. Paths in it are relative to the plan's folder.

    Raises:
        PlanError: the file cannot be read, is not TOML, or has an unknown or invalid key.
    """
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8-sig"))
        plan = Plan.model_validate({**table, "url": url} if url else table)
        return _resolve_paths(plan, file.parent)
    except OSError as error:
        raise PlanError(f"{file}: {error.strerror}") from error
    except ValidationError as error:
        raise PlanError(_explain(file, error)) from error
    except ValueError as error:
        raise PlanError(f"{file}: {error}") from error


def _resolve_paths(plan: Plan, folder: Path) -> Plan:
    tables = {
        name: table.model_copy(update={"file": folder / table.file})
        for name, table in (("problems", plan.problems), ("arrivals", plan.arrivals))
        if table.file is not None
    }
    return plan.model_copy(update=tables)


def _explain(file: Path, error: ValidationError) -> str:
    keys = [
        name
        for table in (Plan, Arrivals, Slo, Problems, Clients, Arm)
        for name in table.model_fields
    ]
    lines: list[str] = []
    for problem in error.errors():
        location = ".".join(str(part) for part in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            similar = difflib.get_close_matches(str(problem["loc"][-1]), keys, n=1)
            message = "unknown key" + (f": did you mean {similar[0]}?" if similar else "")
        lines.append(f"{file}: {location}: {message}")
    return "\n".join(lines)
