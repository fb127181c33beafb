"""`tops judge`: verdicts on answers that come line by line, for programs that have the answers.

A line is a problem as in a problem file, with `id` and the `response`; `truncated` if it was cut
off. Its verdict is a line with the same `id` and `correct`, or `error` where it cannot be judged.
Verdicts come as they are found, in any order.
"""

import asyncio
import json
from typing import IO, Any, TextIO

from models.outcomes.check import read_check
from models.outcomes.verify import Judge, JudgeError, unjudgeable
from router.json_text import parse_object


async def judge_lines(
    source: IO[bytes] | TextIO, out: TextIO, judge: Judge, run_code: bool = False
) -> None:
    """Judge each line of `source`, until its end.

    Args:
        source: the lines.
        out: gets the verdicts, each flushed.
        judge: judges answers.
        run_code: whether programs that a model has written may be run.

    Raises:
        OSError: `out` cannot be written, such as BrokenPipeError where its reader has left.
    """

    async def write_verdict(line: str | bytes) -> None:
        verdict = await _verdict(line, judge, run_code)
        out.write(f"{json.dumps(verdict)}\n")
        out.flush()

    try:
        async with asyncio.TaskGroup() as tasks:
            while line := await asyncio.to_thread(source.readline):
                if line.strip():
                    tasks.create_task(write_verdict(line))
    except* OSError as errors:
        raise errors.exceptions[0] from errors


async def _verdict(line: str | bytes, judge: Judge, run_code: bool) -> dict[str, Any]:
    number: Any = None
    try:
        row = parse_object(line)
        number = row.get("id")
        response = str(row["response"])
        answer = str(row.get("answer") or "")
        prompt = str(row.get("prompt") or "")
        check = read_check(row, prompt)
    except (ValueError, TypeError) as error:
        return {"id": number, "error": f"no answer to judge: {error}"}
    if reason := unjudgeable(answer, check, run_code):
        return {"id": number, "error": reason}
    try:
        correct = await judge.is_correct(
            response, answer, bool(row.get("truncated")), check, prompt
        )
    except JudgeError as error:
        return {"id": number, "error": str(error)}
    return {"id": number, "correct": bool(correct)}
