"""Waits for conditions in other processes, which send no events to the tests."""

import time
from collections.abc import Callable

PATIENCE_SECONDS = 180
"""Far more than any condition takes on a loaded machine: passing it means a failure."""


def until(condition: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> None:
    """Return as soon as the condition holds; an assertion fails if it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not hold in time"
        time.sleep(0.05)
