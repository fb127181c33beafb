"""API keys: stored as SHA-256 digests, each with limits on effort, budget and requests in flight.

A key is 256 random bits, so a plain digest needs no salt or stretching.
"""

import hashlib
import secrets
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Literal, Protocol

from pydantic import ValidationError

from router.effort import Effort
from server.config.api_key_settings import ApiKeySettings, Limit
from server.config.session_settings import NO_BUDGET, SessionBudget
from server.errors import TooManyRequests, Unauthorized


class InFlightCount(Protocol):
    """How many requests of a key are in flight, on all workers of this gateway."""

    def take(self, most: int) -> bool:
        """Count one more, unless there are `most` already; whether it was counted."""
        ...

    def release(self) -> None:
        """A request that was counted has ended."""
        ...


class LocalCount:
    """The count of a process that serves alone."""

    def __init__(self) -> None:
        self._number = 0

    def take(self, most: int) -> bool:
        if self._number >= most:
            return False
        self._number += 1
        return True

    def release(self) -> None:
        self._number -= 1


_UNLIMITED = nullcontext()


@dataclass
class Caller:
    """The holder of an API key, with its limits and its requests in flight."""

    name: str = "anonymous"
    effort_floor: Effort | None = None
    effort_cap: Effort | None = None
    max_budget: int | None = None
    max_in_flight: int | None = None
    limits: tuple[Limit, ...] = ()
    over_limit: Literal["refuse", "lower"] = "refuse"
    session: SessionBudget = NO_BUDGET
    dashboard: Literal["own", "all"] = "all"
    in_flight: InFlightCount = field(default_factory=LocalCount)

    def limit(self) -> AbstractContextManager[None]:
        """Count a request against the key's limit on requests in flight.

        Raises:
            TooManyRequests: the key has as many requests in flight as its limit.
        """
        return _UNLIMITED if self.max_in_flight is None else self._count(self.max_in_flight)

    @contextmanager
    def _count(self, most: int) -> Generator[None]:
        if not self.in_flight.take(most):
            raise TooManyRequests(
                f"key '{self.name}' has {most} requests in flight, its limit; "
                "retry when one of them has finished"
            )
        try:
            yield
        finally:
            self.in_flight.release()


class ApiKeys:
    """The configured keys; without any, every caller is anonymous and unlimited.

    Args:
        settings: of each key.
        count: counts the requests in flight of the key of a number; None if this process serves
            alone.
        session: the budget of sessions of keys that set none.
    """

    def __init__(
        self,
        settings: Sequence[ApiKeySettings],
        count: Callable[[int], InFlightCount] | None = None,
        session: SessionBudget = NO_BUDGET,
    ) -> None:
        self._anonymous = Caller(session=session)
        self._callers = {
            key.sha256: Caller(
                key.name,
                key.effort_floor,
                key.effort_cap,
                key.max_budget,
                key.max_in_flight,
                key.limits,
                key.over_limit,
                key.session(session),
                key.dashboard,
                LocalCount() if count is None else count(number),
            )
            for number, key in enumerate(settings)
        }

    def caller(self, headers: Mapping[str, str]) -> Caller:
        """The caller of a request, by `Authorization: Bearer`, or `x-api-key` as Anthropic has it.

        Raises:
            Unauthorized: keys are configured and the request carries none of them.
        """
        if not self._callers:
            return self._anonymous
        scheme, _, key = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key:
            key = headers.get("x-api-key", "")
        if not key:
            raise Unauthorized("no API key: send the header 'Authorization: Bearer YOUR_KEY'")
        caller = self._callers.get(digest(key.strip()))
        if caller is None:
            raise Unauthorized("unknown API key")
        return caller


def digest(key: str) -> str:
    """The SHA-256 of a key in hexadecimal, which is all that the settings have of it."""
    return hashlib.sha256(key.encode()).hexdigest()


def new_key() -> str:
    """A new API key, of 256 random bits."""
    return f"sk-tops-{secrets.token_urlsafe(32)}"


def toml_table(name: str, key: str) -> str:
    """The [[keys]] table of tops.toml for a key.

    Raises:
        ValueError: the settings would not accept the name.
    """
    try:
        settings = ApiKeySettings(name=name, sha256=digest(key))
    except ValidationError as error:
        raise ValueError(
            f"'{name}' is not a key name: 1 to 64 letters, digits, dots, underscores or hyphens"
        ) from error
    return f'[[keys]]\nname = "{settings.name}"\nsha256 = "{settings.sha256}"'
