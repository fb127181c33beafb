"""What a confined process can be asked to do; each job takes and returns JSON values."""

import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from models.sandbox.gym import items, score, tasks

Job = Callable[[Mapping[str, Any]], Any]


def run_program(payload: Mapping[str, Any]) -> str:
    """Run a program and its tests; returns the payload's proof if none of them failed.

    The program does not know the proof: one that ends early, whatever its exit status, has none.
    """
    code = compile(payload["program"], "solution.py", "exec", dont_inherit=True)
    module = sys.modules["solution"] = ModuleType("solution")  # data classes look theirs up
    exec(code, module.__dict__)  # noqa: S102 - that is the job, and it is confined
    return payload["proof"]


JOBS: Mapping[str, Job] = {"program": run_program, "score": score, "items": items, "tasks": tasks}
