"""One measurement of efforts for all workers of a gateway: a file, which one of them writes."""

import asyncio
import fcntl
import json
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO, cast

from server.engines.effort_trial import Trial, Trials

_POLL_SECONDS = 0.5


async def measured_once(
    file: Path, max_age_seconds: float, measure: Callable[[], Awaitable[Trials | None]]
) -> Trials | None:
    """The trials in `file`, if they are recent; else those that are measured, which it then has.

    Who comes while another process measures waits for it. A process that dies leaves no lock.
    """
    with file.with_suffix(".lock").open("w") as lock:
        while not _is_locked(lock):  # noqa: ASYNC110 - another process has no event for this one
            await asyncio.sleep(_POLL_SECONDS)
        if _age_seconds(file) < max_age_seconds:
            return _read(file)
        trials = await measure()
        if trials is not None:
            _write(file, trials)
        return trials


def _is_locked(lock: TextIO) -> bool:
    """Whether this process has the lock now."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _age_seconds(file: Path) -> float:
    """Since it was written; inf where it was not."""
    return time.time() - file.stat().st_mtime if file.exists() else math.inf


def _read(file: Path) -> Trials:
    rows = cast("dict[Any, dict[str, dict[str, Any]]]", json.loads(file.read_text()))
    return {
        effort: {prompt: Trial(**fields) for prompt, fields in replies.items()}
        for effort, replies in rows.items()
    }


def _write(file: Path, trials: Trials) -> None:
    rows = {
        effort: {prompt: asdict(trial) for prompt, trial in replies.items()}
        for effort, replies in trials.items()
    }
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(rows))
    partial.replace(file)
