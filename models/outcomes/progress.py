"""A progress line on standard error: how far, how fast, how long still."""

import sys
import time


class Progress:
    """Renewed at most twice a second."""

    def __init__(self, total: int, what: str = "generations") -> None:
        self._total = total
        self._what = what
        self._done = 0
        self._begun = time.monotonic()
        self._shown = 0.0

    def step(self) -> None:
        """Count one more."""
        self._done += 1
        if time.monotonic() - self._shown > 0.5:
            self._show()

    def end(self) -> None:
        """Leave the last state on a line of its own."""
        self._show()
        print(file=sys.stderr)

    def _show(self) -> None:
        self._shown = time.monotonic()
        rate = self._done / max(self._shown - self._begun, 1e-9)
        left = (self._total - self._done) / rate if rate else float("inf")
        line = f"\r{self._done}/{self._total} {self._what}, {rate:.1f}/s, {left:.0f} s left  "
        print(line, end="", file=sys.stderr, flush=True)
