"""Which prompts are the same: distinct prompts, and near duplicates by template.

A log may repeat a prompt under several problem_ids; each repetition says less than a new prompt.
Equal prompts have one `prompt_key`; prompts that differ only in numbers and in case have one
`template_key`.
"""

import hashlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace

import numpy as np

from router.arrays import Index
from router.fitting.outcomes import Outcome
from router.messages import read_messages

_NUMBER = re.compile(r"\d+(?:[.,:/]\d+)*")
_TEMPLATE_SHARE = 0.05


def prompt_key(messages: object) -> str:
    """The 128-bit hash of the turns: roles and texts, in Unicode's NFC, with single spaces."""
    return _key(messages, lambda text: text)


def problem_key(problem_id: str, messages: object) -> str:
    """`prompt_key`; a problem whose prompt is not kept is like no other problem."""
    return problem_id if messages is None else prompt_key(messages)


def template_key(messages: object) -> str:
    """`prompt_key` of the turns in small letters, with a # for each number."""
    return _key(messages, lambda text: _NUMBER.sub("#", text.casefold()))


def _key(messages: object, rewrite: Callable[[str], str]) -> str:
    conversation = read_messages(messages)
    parts = [
        (turn.role, rewrite(" ".join(unicodedata.normalize("NFC", turn.text).split())))
        for turn in conversation.turns
    ]
    # Images and the like are no text: only the same JSON is the same prompt.
    unread = None if conversation.unreadable is None else messages
    data = json.dumps([parts, unread], sort_keys=True, default=str).encode()
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def merged(outcomes: Sequence[Outcome]) -> tuple[list[Outcome], tuple[str, ...]]:
    """The outcomes with one problem_id per distinct prompt, and a warning if several shared one."""
    messages: dict[str, object] = {}
    for outcome in outcomes:
        messages.setdefault(outcome.problem_id, outcome.messages)
    keys = {problem: problem_key(problem, prompt) for problem, prompt in messages.items()}
    names: dict[str, str] = {}
    for problem, key in keys.items():
        names.setdefault(key, problem)
    repeats = Counter(keys.values())
    warning = repetition([repeats[key] for key in names])
    if warning is None:
        return list(outcomes), ()
    renamed = {problem: names[key] for problem, key in keys.items() if names[key] != problem}
    return [
        replace(outcome, problem_id=renamed[outcome.problem_id])
        if outcome.problem_id in renamed
        else outcome
        for outcome in outcomes
    ], (warning,)


def repetition(repeats: Sequence[int]) -> str | None:
    """A warning where some distinct prompts have several problem_ids, from their numbers (P,)."""
    sharing = sum(count for count in repeats if count > 1)
    if not sharing:
        return None
    return (
        f"{sharing} problem_ids share a prompt: {sum(repeats)} problem_ids are "
        f"{len(repeats)} distinct prompts, and those count"
    )


def numbered(keys: Iterable[Hashable]) -> Index:
    """The number (N,) of each key, by first appearance: equal keys have equal numbers."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.intp)


def clusters(templates: Sequence[str]) -> Index:
    """The cluster (P,) of each of P distinct prompts, from their template keys.

    The prompts of a template vary together. A template of more than a twentieth of the prompts is
    no sample of the templates of some traffic, but a kind of traffic: its prompts vary by
    themselves.
    """
    template = numbered(templates)
    large = np.bincount(template)[template] > _TEMPLATE_SHARE * len(template)
    return numbered(
        ("prompt", row) if alone else ("template", number)
        for row, (number, alone) in enumerate(zip(template.tolist(), large.tolist(), strict=True))
    )
