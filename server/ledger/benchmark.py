"""What the ledger costs a request, and how much it takes: python -m server.ledger.benchmark."""

import tempfile
import time
from pathlib import Path

import click
from prometheus_client import Counter

from router.estimate import Estimate
from server.decide.conversations import Thread
from server.decide.decision import Decision
from server.decide.holdout import Draw, Shares
from server.engines.usage import Usage
from server.ledger.schema import connect, prepare
from server.ledger.writer import Ledger
from server.lifecycle.record import RequestRecord

_LADDER = ("none", "low", "medium", "high")
_ESTIMATE = Estimate(
    difficulty=0.5,
    p_correct=dict.fromkeys(_LADDER, 0.5),
    tokens=dict.fromkeys(_LADDER, 100.0),
    budget=dict.fromkeys(_LADDER, 400),
)
_DRAW = Draw("treated", None, Shares(0.02), 0.0)
_DECISION = Decision(
    "low", "router", 400, "router", "a reason of usual length " * 4, None, _ESTIMATE, "high",
    draw=_DRAW, routed="low",
)  # fmt: skip


def _closed(number: int) -> RequestRecord:
    record = RequestRecord(f"req_{number:024x}", decision=_DECISION, model="m", caller="anonymous")
    record.thread, record.answer = Thread("c" * 32), number
    record.usage = Usage(100, 300, 250)
    record.closed_at = record.opened_at + 0.5
    return record


@click.command(help=__doc__)
@click.option("--ledger", metavar="URL", help="Database URL; default: a new SQLite file.")
@click.option(
    "--rate", type=int, default=1_000, show_default=True, metavar="N", help="Rows per second."
)
@click.option("--seconds", type=int, default=20, show_default=True, metavar="SECONDS")
def main(ledger: str | None, rate: int, seconds: int) -> None:
    """Record at a steady rate for some seconds; print the cost of a call and what was written."""
    with tempfile.TemporaryDirectory() as folder:
        engine = connect(ledger or f"sqlite:///{Path(folder) / 'ledger.db'}")
        prepare(engine)
        written, lost = (Counter(name, "", registry=None) for name in ("written", "lost"))
        writer = Ledger(engine, written, lost, None, prepared=True)
        writer.start()
        records = [_closed(number) for number in range(rate * seconds)]
        process, thread = time.process_time(), 0.0
        begun = time.perf_counter()
        for number, record in enumerate(records):
            before = time.thread_time()
            writer.record(record)
            thread += time.thread_time() - before
            ahead = begun + number / rate - time.perf_counter()
            if ahead > 0.002:
                time.sleep(ahead)
        took = time.perf_counter() - begun
        writer.stop()
        stopped = time.perf_counter() - begun
        process = time.process_time() - process
        rows = len(records)
        count = sum(family.samples[0].value for family in written.collect())
        print(
            f"{rows / took:,.0f} rows a second for {took:.0f} s; {count:,.0f} of {rows:,} written,"
        )
        print(f"the last {stopped - took:.2f} s after the end.")
        print(f"on the request's path: {1e6 * thread / rows:.1f} us of CPU a row;")
        print(f"with the writer's thread: {1e6 * process / rows:.0f} us (and the pacing).")


if __name__ == "__main__":
    main(prog_name="python -m server.ledger.benchmark")
