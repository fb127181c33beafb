"""What reports on a large ledger take: python -m server.dashboard.benchmark --rows 1000000."""

import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
from sqlalchemy import Engine, func, insert, literal, select

from server.dashboard.data import RANGES, DashboardData
from server.ledger.schema import connect, prepare
from server.ledger.selection import Selection
from server.ledger.summaries import add_all
from server.ledger.tables import requests
from server.savings.query import parse_policy, query

_SEED_ROWS = 20_000
_DAYS = 30
_TOKENS = {"low": 40.0, "medium": 120.0, "high": 400.0}
_WHAT_IF = ("effort=low", "effort=medium", "price=0.5")


def _seed(rows: int, now: float) -> list[dict[str, object]]:
    """Requests of the last hours, two a conversation, 2 % held out."""
    rng = np.random.default_rng(3)
    rows_of_seed: list[dict[str, object]] = []
    conversation, held_out = "", False
    for number in range(rows):
        if number % 2 == 0:
            conversation, held_out = (
                f"{rng.integers(2**63):016x}{number:016x}",
                bool(rng.random() < 0.02),
            )
        hard = float(rng.random())
        expected = {effort: tokens * (0.5 + hard) for effort, tokens in _TOKENS.items()}
        routed = "low" if hard < 0.5 else "high"
        effort = "high" if held_out else routed
        thinking = round(expected[effort] * rng.lognormal(0, 0.5))
        rows_of_seed.append(
            {
                "request_id": f"req_{number:024x}", "at": now - number, "model": f"m{number % 2}",
                "key": f"key{number % 7}", "kind": ("json", "tools", None)[number % 3],
                "conversation": conversation, "arm": "holdout" if held_out else "treated",
                "agent": None, "answer": number, "p_treated": 0.98, "p_holdout": 0.02,
                "p_explore": 0.0, "effort": effort, "source": "holdout" if held_out else "router",
                "routed": routed, "pinned": False, "baseline": "high", "calibrated": True,
                "features": 3, "baseline_tokens": expected["high"], "baseline_p_correct": 0.99,
                "p_correct": {"low": 0.99 - 0.6 * hard, "medium": 0.99 - 0.2 * hard, "high": 0.99},
                "expected_tokens": expected, "budget": 400, "budget_hit": number % 50 == 0,
                "choices": 1, "prompt_tokens": 100, "thinking_tokens": thinking,
                "answer_tokens": 50, "ttft_seconds": None, "seconds": 0.3 + 0.01 * thinking,
                "status": 200 if number % 97 else 503, "abstained": None,
                "reason": "a reason of usual length " * 3,
                "score": float(rng.random() < 0.8) if number % 100 == 0 else None,
                "scored_at": None,
            }
        )  # fmt: skip
    return rows_of_seed


def fill(engine: Engine, rows: int) -> None:
    """Add requests, spread over 30 days: those of `_seed`, and copies of other conversations."""
    columns = [column for column in requests.c if not column.primary_key]
    with engine.begin() as connection:
        connection.execute(insert(requests), _seed(min(rows, _SEED_ROWS), time.time()))
    copies = -(-rows // _SEED_ROWS)
    seeds = requests.c.id.between(1, _SEED_ROWS)
    for copy in range(1, copies):
        conversation = func.substr(requests.c.conversation, 1, 16).concat(literal(f"{copy:08x}"))
        changed = {
            "at": requests.c.at - _DAYS * 86_400.0 * copy / copies,
            "conversation": conversation.concat(func.substr(requests.c.conversation, 25)),
        }
        source = select(*(changed.get(column.name, column) for column in columns)).where(seeds)
        with engine.begin() as connection:
            connection.execute(insert(requests).from_select(columns, source))


def _timed(name: str, rows: int, report: Callable[[], object]) -> None:
    begun, processor = time.perf_counter(), time.process_time()
    report()
    seconds, processor = time.perf_counter() - begun, time.process_time() - processor
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{name:<34} {seconds:8.2f} s ({processor:.2f} s of CPU), {rows / seconds:12,.0f} rows/s, "
        f"peak {peak:,.0f} MB",
        flush=True,
    )


@click.command(help=__doc__)
@click.option("--ledger", metavar="URL", help="A ledger to read; default: a new SQLite file.")
@click.option("--rows", type=int, default=1_000_000, show_default=True, metavar="N")
@click.option("--new", is_flag=True, help="Fill the --ledger, which must be empty, with the rows.")
def main(ledger: str | None, rows: int, new: bool) -> None:
    """Fill a ledger, and print seconds, rows per second and the memory's peak of each report."""
    with tempfile.TemporaryDirectory() as folder:
        url = ledger or f"sqlite:///{Path(folder) / 'ledger.db'}"
        engine = connect(url)
        prepare(engine)
        if new or ledger is None:
            fill(engine, rows)
        policies = {name: parse_policy(name, None) for name in _WHAT_IF}
        _timed("sums of all rows, once", rows, lambda: add_all(engine))
        _timed("tops savings", rows, lambda: query(url, Selection(), None, {}))
        _timed("  with three what-ifs", rows, lambda: query(url, Selection(), None, policies))
        data = DashboardData(engine, None)
        for name in RANGES:
            _timed(f"/dashboard/data, {name}", rows, lambda name=name: data.read(name, None))
        engine.dispose()


if __name__ == "__main__":
    main(prog_name="python -m server.dashboard.benchmark")
