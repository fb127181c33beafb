"""The progress of a run: its records so far, and a progress bar on standard error."""

import asyncio
import sys
from typing import TextIO

from tqdm import tqdm

from loadtest.generator_load import GeneratorLoad
from loadtest.intervals import percentile
from loadtest.record import Record
from loadtest.record_file import RecordWriter

_TERMINAL_SECONDS, _LOG_SECONDS = 0.5, 10.0
_RECENT_RECORDS = 200
_FORMAT = "{n_fmt}/{total_fmt} conversations, {elapsed}<{remaining}, {rate_fmt}{postfix}"


class Progress:
    """A run's records, counters and progress bar.

    Attributes:
        started: conversations that have begun, those that finished included.
        finished: conversations that ended by themselves.
        total: conversations of the run; a sweep sets it at each stage.
        stopped: whether a signal ended the run early.
        generator: how busy the load generator was.

    Args:
        total: conversations of the run.
        writer: also receives every record.
    """

    def __init__(self, total: int, writer: RecordWriter | None = None) -> None:
        self.records: list[Record] = []
        self.generator = GeneratorLoad()
        self.stopped = False
        self.finished = 0
        self.started = 0
        self.total, self._writer = total, writer

    def add(self, record: Record) -> None:
        self.records.append(record)
        if self._writer is not None:
            self._writer.write(record)

    async def show(self) -> None:
        """Show the bar on standard error until cancelled; in a log, a line every ten seconds.

        The bar is refreshed here and not per record, which would cost the load generator time.
        """
        terminal = sys.stderr.isatty()
        bar = tqdm(
            total=self.total,
            initial=self.finished,
            file=sys.stderr if terminal else _Lines(sys.stderr),
            bar_format=_FORMAT if not terminal else "{bar:20} " + _FORMAT,
            unit="",
            mininterval=float("inf"),
        )
        try:
            while True:
                await asyncio.sleep(_TERMINAL_SECONDS if terminal else _LOG_SECONDS)
                bar.n = self.finished
                bar.set_postfix_str(self._state())
        finally:
            bar.n = self.finished
            bar.set_postfix_str(self._state(), refresh=False)
            bar.close()

    def _state(self) -> str:
        errors = sum(record.error is not None for record in self.records)
        state = [f"{self.started - self.finished} in progress", f"{errors} errors"]
        recent = self.records[-_RECENT_RECORDS:]
        ttfts = [record.ttft for record in recent if record.ttft is not None]
        if ttfts:
            state.append(f"TTFT p50 {1000 * percentile(ttfts, 50).value:.0f} ms")
        return ", ".join(state)


class _Lines:
    """Writes the refreshes of a bar, which begin with a carriage return, as lines of a log."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        self._stream.write(text.replace("\r", "\n"))

    def flush(self) -> None:
        self._stream.flush()
