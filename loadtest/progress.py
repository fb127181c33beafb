"""A run as it goes: its records, written down as they come, and a line about them."""

import asyncio
import json
import sys
import time
from dataclasses import asdict
from typing import IO

from loadtest.intervals import percentile
from loadtest.record import Record

_TERMINAL_SECONDS, _LOG_SECONDS = 0.5, 10.0
"""Between two lines: one that is written over, and one that stays."""

_RECENT = 200


class Progress:
    """What a run has come to so far.

    Args:
        total: how many conversations there are to be had.
        file: unbuffered; takes each record as a line of JSON once it is made, so that none is lost
            with the process. None keeps them in memory only, as does a file that fails: `failed`
            has the reason then.
    """

    def __init__(self, total: int, file: IO[bytes] | None = None) -> None:
        self.records: list[Record] = []
        self.stopped = False
        self.failed: str | None = None
        self.had = 0
        self.begun = 0
        self._total, self._file = total, file
        self._started = time.monotonic()

    def note(self, record: Record) -> None:
        """Take the record of a request that was made."""
        self.records.append(record)
        if self._file is None:
            return
        line = json.dumps(asdict(record)).encode() + b"\n"
        try:
            left = len(line) - self._file.write(line)
        except OSError as error:
            self._file, self.failed = None, error.strerror
        else:
            if left:
                self._file, self.failed = None, "there was no room for more"

    def told(self) -> str:
        """The run in a line."""
        rate = self.had / max(time.monotonic() - self._started, 1e-9)
        errors = sum(record.error is not None for record in self.records)
        words = [
            f"{self.had}/{self._total} conversations",
            f"{self.begun - self.had} under way",
            f"{rate:.1f}/s",
            f"{errors} errors",
        ]
        waits = [one.ttft for one in self.records[-_RECENT:] if one.ttft is not None]
        if waits:
            words.append(f"TTFT p50 {1000 * percentile(waits, 50).value:.0f} ms")
        return ", ".join(words)

    async def show(self) -> None:
        """Tell the run on standard error until cancelled, and once more then."""
        over = sys.stderr.isatty()
        begin, end = ("\r", "   ") if over else ("", "\n")
        try:
            while True:
                await asyncio.sleep(_TERMINAL_SECONDS if over else _LOG_SECONDS)
                print(begin + self.told(), end=end, file=sys.stderr, flush=True)
        finally:
            print(begin + self.told(), file=sys.stderr, flush=True)
