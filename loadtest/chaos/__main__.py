"""Break an engine, a disk and a gateway under load, and check: `python -m loadtest.chaos`."""

import argparse
import asyncio
import sys
from pathlib import Path

from loadtest.chaos.run import Scale, StoppedError, chaos
from loadtest.chaos.verdict import verdict, verdict_table
from loadtest.plan import PlanError, read_plan
from loadtest.run import STOPPED

_PLAN = Path(__file__).resolve().parent.parent / "plans" / "chaos.toml"


def main() -> int:
    """Returns 1 where something does not hold, 2 where the run cannot be made, 130 if stopped."""
    scale = Scale()
    parser = argparse.ArgumentParser(prog="python -m loadtest.chaos", description=__doc__)
    parser.add_argument("--plan", type=Path, default=_PLAN)
    parser.add_argument("--seconds", type=float, default=scale.seconds, help="of load with faults")
    parser.add_argument("--stall", type=float, default=scale.stall_seconds, help="of the engine")
    words = parser.parse_args()
    if sys.platform != "linux":
        parser.error("this needs Linux: it fills a disk by a limit on another process's files")
    try:
        plan = read_plan(words.plan)
        evidence = asyncio.run(chaos(plan, Scale(words.seconds, words.stall)))
    except PlanError as error:
        print(f"chaos: {error}", file=sys.stderr)
        return 2
    except (StoppedError, KeyboardInterrupt):
        print("chaos: stopped", file=sys.stderr)
        return STOPPED
    checks = verdict(evidence)
    print(verdict_table(evidence, checks))
    return 0 if all(check.holds for check in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
