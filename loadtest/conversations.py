"""The conversations of a plan, from a file or the demo domain."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from loadtest.demo_problems import demo_problems
from loadtest.judge import judgeable
from loadtest.plan import PlanError, Problems
from loadtest.problem import Conversation, Problem
from loadtest.problem_file import parse_conversations
from router.text_file import read_text


def read_conversations(source: Problems, notes: list[str]) -> list[Conversation]:
    """The conversations of a plan, in the order of their source.

    A file with fewer conversations than `source.n` is repeated, under new ids. `notes` receives a
    sentence for everything that is omitted or repeated.

    Raises:
        PlanError: the file cannot be read, is empty, or has an invalid problem.
    """
    text = demo_problems(source) if source.file is None else _read_text(source.file)
    parsed = parse_conversations(str(source.file), text)
    conversations = _group(source, parsed, notes)
    n = source.n or len(conversations)
    if len(conversations) < n:
        notes.append(f"{source.file}: {len(conversations)} conversations, repeated to make {n}")
    repeated = [
        _repeat(conversations[index % len(conversations)], index // len(conversations))
        for index in range(n)
    ]
    answers = [
        turn.answer
        for turns in repeated
        for turn in turns
        if turn.answer is not None and turn.check is None
    ]
    if unjudged := sum(not judgeable(answer) for answer in answers):
        notes.append(
            f"{unjudged} of {len(answers)} reference answers are not numbers and are not judged"
        )
    return [tuple(_without_unjudged_answer(turn) for turn in turns) for turns in repeated]


def _without_unjudged_answer(problem: Problem) -> Problem:
    if problem.answer is None or judgeable(problem.answer):
        return problem
    return replace(problem, answer=None)


def _read_text(file: Path) -> str:
    try:
        text = read_text(file)
    except ValueError as error:
        raise PlanError(str(error)) from error
    if not text.strip():
        raise PlanError(f"{file}: there are no problems")
    return text


def _group(
    source: Problems, parsed: Sequence[Conversation], notes: list[str]
) -> list[Conversation]:
    """Conversations of at most `source.turns`.

    A file's own conversations are cut to that length; single problems are joined in their order.
    """
    conversations = [turns for turns in parsed if turns]
    if not conversations:
        raise PlanError(f"{source.file}: no conversation has a user message")
    if len(conversations) < len(parsed):
        omitted = len(parsed) - len(conversations)
        notes.append(f"{source.file}: {omitted} conversations without a user message omitted")
    if len(conversations) < len(parsed) or any(len(turns) > 1 for turns in conversations):
        return [turns[: source.turns] for turns in conversations]
    if len(conversations) < source.turns:
        raise PlanError(
            f"{source.file}: {len(conversations)} problems, too few for {source.turns} turns"
        )
    problems = [problem for (problem,) in conversations]
    ends = range(source.turns, len(problems) + 1, source.turns)
    return [_join(problems[end - source.turns : end]) for end in ends]


def _join(problems: Sequence[Problem]) -> Conversation:
    return (problems[0], *(replace(problem, system=None) for problem in problems[1:]))


def _repeat(turns: Conversation, repetition: int) -> Conversation:
    if not repetition:
        return turns
    return tuple(replace(turn, problem_id=f"{turn.problem_id}~{repetition + 1}") for turn in turns)
