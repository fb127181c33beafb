"""What the ledger costs a request, and how much it takes: python -m server.ledger.benchmark."""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from prometheus_client import Counter

from router.estimate import Estimate
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
_DRAW = Draw("treated", None, "c" * 32, Shares(0.02), 0.0)
_DECISION = Decision(
    "low", "router", 400, "router", "a reason of usual length " * 4, None, _ESTIMATE, "high",
    draw=_DRAW, routed="low",
)  # fmt: skip


def _closed(number: int) -> RequestRecord:
    record = RequestRecord(f"req_{number:024x}", decision=_DECISION, model="m", caller="anonymous")
    record.usage = Usage(100, 300, 250)
    record.closed_at = record.opened_at + 0.5
    return record


def main(argv: Sequence[str]) -> int:
    """Record at a steady rate for some seconds; print the cost of a call and what was written."""
    parser = argparse.ArgumentParser("python -m server.ledger.benchmark", description=__doc__)
    parser.add_argument("--ledger", help="database URL (default: a new SQLite file)")
    parser.add_argument("--rate", type=int, default=1_000, help="rows a second")
    parser.add_argument("--seconds", type=int, default=20)
    words = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        engine = connect(words.ledger or f"sqlite:///{Path(folder) / 'ledger.db'}")
        prepare(engine)
        written, lost = (Counter(name, "", registry=None) for name in ("written", "lost"))
        ledger = Ledger(engine, written, lost, None, prepared=True)
        ledger.start()
        records = [_closed(number) for number in range(words.rate * words.seconds)]
        process, thread = time.process_time(), 0.0
        begun = time.perf_counter()
        for number, record in enumerate(records):
            before = time.thread_time()
            ledger.record(record)
            thread += time.thread_time() - before
            ahead = begun + number / words.rate - time.perf_counter()
            if ahead > 0.002:
                time.sleep(ahead)
        took = time.perf_counter() - begun
        ledger.stop()
        stopped = time.perf_counter() - begun
        process = time.process_time() - process
        rows = len(records)
        count = sum(one.samples[0].value for one in written.collect())
        print(
            f"{rows / took:,.0f} rows a second for {took:.0f} s; {count:,.0f} of {rows:,} written,"
        )
        print(f"the last {stopped - took:.2f} s after the end.")
        print(f"on the request's path: {1e6 * thread / rows:.1f} us of CPU a row;")
        print(f"with the writer's thread: {1e6 * process / rows:.0f} us (and the pacing).")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
