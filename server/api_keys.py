"""API keys: stored as SHA-256 digests, each with limits on effort, budget and requests in flight.

A key is 256 random bits, so a plain digest needs no salt or stretching.
"""

import argparse
import hashlib
import secrets
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from router.effort import Effort
from server.config.settings import ApiKeySettings
from server.errors import TooManyRequests, Unauthorized


@dataclass
class Caller:
    """Who asks, and what they may ask for; `in_flight` is counted per key."""

    name: str = "anonymous"
    effort_floor: Effort | None = None
    effort_cap: Effort | None = None
    max_budget: int | None = None
    max_in_flight: int | None = None
    in_flight: int = 0

    @contextmanager
    def limit(self) -> Generator[None]:
        """Count a request against the key's limit on requests in flight.

        Raises:
            TooManyRequests: the key has as many requests in flight as it may have.
        """
        if self.max_in_flight is not None and self.in_flight >= self.max_in_flight:
            raise TooManyRequests(
                f"key '{self.name}' has {self.in_flight} requests in flight, the most it may have; "
                "wait for one to end"
            )
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1


class ApiKeys:
    """The configured keys; without any, every caller is anonymous and unlimited."""

    def __init__(self, settings: Sequence[ApiKeySettings]) -> None:
        self._anonymous = Caller()
        self._callers = {
            key.sha256: Caller(**key.model_dump(exclude={"sha256"})) for key in settings
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
            raise Unauthorized("this API key is not known here")
        return caller


def digest(key: str) -> str:
    """What the settings keep of a key: its SHA-256 in hexadecimal."""
    return hashlib.sha256(key.encode()).hexdigest()


def key_main(argv: Sequence[str]) -> int:
    """`tops key NAME`: make a key, print it once, and print the table for `tops.toml`."""
    parser = argparse.ArgumentParser(prog="tops key", description="Make an API key.")
    parser.add_argument("name", help="who the key is for; shown in logs and metrics")
    name = parser.parse_args(argv).name
    key = f"sk-tops-{secrets.token_urlsafe(32)}"
    print(f"{key}\n\nThe key is shown this once. Add to tops.toml:\n")
    print(f'[[keys]]\nname = "{name}"\nsha256 = "{digest(key)}"')
    return 0
