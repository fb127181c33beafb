"""Judges answers in a sandbox: items of reasoning-gym by their scorers, programs by their tests."""

import asyncio
import contextlib
import importlib.util
import secrets

from models.outcomes.check import GymItem, ProgramTests
from models.outcomes.gym_answer import committed_answer
from models.outcomes.program import program
from models.sandbox.sandbox import JobError, Sandbox, unsupported

INSTALL_GYM = "pip install 'tops-server[gym]'"
_RIGHT = 1.0
_MEMORY_MIB = 512


def unjudgeable_check(check: GymItem | ProgramTests, run_code: bool) -> str | None:
    """Why answers cannot be checked here, or None.

    Args:
        check: of the problem.
        run_code: whether programs that a model has written may be run.
    """
    if isinstance(check, GymItem) and importlib.util.find_spec("reasoning_gym") is None:
        return f"its scorer is reasoning-gym's, which is not installed: {INSTALL_GYM}"
    if isinstance(check, ProgramTests) and not run_code:
        return (
            "it is judged by running the model's program: allow it with --run-code, in a recipe "
            "with run_code = true under [verify]; docs/guides/tasks.md says what limits it"
        )
    if reason := unsupported():
        return f"its answers are judged in a sandbox, and {reason}: run this in a Linux container"
    return None


class SandboxJudge:
    """Judges by checks that run code: a scorer's, or the model's.

    Args:
        seconds: the time-out for an answer; one that takes longer is wrong.
        processes: the number of answers at a time.
    """

    def __init__(self, seconds: float, processes: int) -> None:
        self._seconds = seconds
        self._scorers = Sandbox(processes, ["reasoning_gym"])
        self._programs = Sandbox(processes)

    def close(self) -> None:
        self._scorers.close()
        self._programs.close()

    async def is_correct(
        self, response: str, check: GymItem | ProgramTests, truncated: bool
    ) -> bool:
        """Whether a response passes; False where the scorer or the program fails or takes too long.

        Raises:
            SandboxError: the sandbox does not run at all.
        """
        if isinstance(check, GymItem):
            return await self._score(response, check, truncated)
        code = program(response, check.prompt, check.tests, truncated)
        if code is None:
            return False
        proof = secrets.token_hex()
        return await self._run(self._programs, "program", program=code, proof=proof) == proof

    async def _score(self, response: str, item: GymItem, truncated: bool) -> bool:
        text = committed_answer(response, item.answer, truncated, item.question)
        if text is None:
            return False
        score = await self._run(
            self._scorers, "score", text=text, task=item.task, difficulty=item.difficulty,
            question=item.question, answer=item.answer, metadata=item.metadata,
        )  # fmt: skip
        return score == _RIGHT

    async def _run(self, sandbox: Sandbox, job: str, **payload: object) -> object:
        with contextlib.suppress(JobError):
            return await asyncio.to_thread(
                sandbox.run, job, payload, self._seconds, memory_mib=_MEMORY_MIB
            )
        return None
