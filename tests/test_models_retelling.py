"""Retold stories: the same numbers in other words, and what visitors say around them."""

import json
import random
import re
from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from paths import ROOT

from models.domain.problems import KIND, retold_problems
from models.domain.retelling import LARGEST, conversations, large_story, retell, reword
from models.domain.stories import Story, stories
from models.domain.words import first_names
from models.outcomes.client import RequestSettings
from models.outcomes.problem_sets import Problem
from models.training.generation import generate_missing
from tops import main

MANY = 400


def test_a_seed_gives_the_same_conversations_and_another_split_other_stories() -> None:
    first = list(islice(conversations(5), 30))
    assert first == list(islice(conversations(5), 30))
    assert first != list(islice(conversations(6), 30))
    held_out = islice(conversations(5, "test"), MANY)
    numbers = {(c.story.steps[0].before, c.story.steps) for c in held_out if c.story}
    trained = {(c.story.steps[0].before, c.story.steps) for c in conversations_of(MANY) if c.story}
    assert not numbers & trained


def conversations_of(count: int) -> list[Any]:
    return list(islice(conversations(1), count))


@pytest.mark.parametrize("tell", [retell, reword])
def test_every_number_of_the_story_is_told_in_order(
    tell: Callable[[random.Random, Story], str],
) -> None:
    rng = random.Random(1)
    words = (ROOT / "models/domain/words/numbers.txt").read_text().split()
    for story in islice(stories(2), MANY):
        text = tell(rng, story)
        told = [int(n.replace(",", "")) for n in re.findall(r"\d[\d,]*", text)]
        spelled = [words.index(w) for w in re.findall(r"\w+", text.lower()) if w in words]
        for step in story.steps:
            if step.symbol != "*":
                assert step.operand in {*told, *spelled}
        if not spelled:
            start = told.index(story.steps[0].before)
            rest = iter(told[start + 1 :])
            assert all(s.operand in rest for s in story.steps if s.symbol != "*")
        assert "|" not in text
        assert "{" not in text


def test_a_reworded_story_keeps_most_of_its_sentences() -> None:
    rng = random.Random(5)
    for story in islice(stories(6, low=4), MANY):
        own, told = (text.split(". ") for text in (story.prompt, reword(rng, story)))
        assert len(own) == len(told)
        assert sum(a != b for a, b in zip(own, told, strict=True)) <= 3


def test_large_stories_stay_within_four_digits() -> None:
    rng = random.Random(3)
    totals = [step.total for _ in range(50) for step in large_story(rng, 4, "test").steps]
    assert all(0 < total <= LARGEST for total in totals)
    assert max(totals) > 999


def test_conversations_hold_what_visitors_bring() -> None:
    found = conversations_of(MANY)
    assert len(first_names()) > 5_000
    assert any(c.messages[0]["role"] == "system" for c in found)
    assert any(len(c.messages) > 2 for c in found)
    assert all(c.messages[-1]["role"] == "user" for c in found)
    assert 0.02 < sum(c.story is None for c in found) / MANY < 0.09


def test_the_command_prints_retold_problems(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["problems", "--n", "20", "--retold", "--seed", "4"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    expected = list(islice(retold_problems(4, "test", 1, 10), 20))
    assert [row["prompt"] for row in rows] == [problem.prompt for problem in expected]
    assert {row["kind"] for row in rows} == {KIND}
    assert any(row["system"] for row in rows)


def test_without_the_library_of_names_the_command_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "faker" else 1)
    assert main(["problems", "--retold"]) == 1
    assert "pip install 'tops-server[train]'" in capsys.readouterr().err


def test_generations_of_problems_with_system_messages_are_found_again(tmp_path: Path) -> None:
    problem = Problem("p", "How many?", "3", kind=KIND, system="Be brief.")
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "How many?"}]
    row = {
        "problem_id": "p", "prompt": "How many?", "messages": turns, "answer": "3", "model": "m",
        "effort": "low", "sample": 0, "weights": None,
    }  # fmt: skip
    (tmp_path / "out.jsonl").write_text(json.dumps(row) + "\n")
    counts = Counter[str]()
    endpoints = [RequestSettings("http://127.0.0.1:1/v1", "m", 0.6, None, keep_responses=True)]
    generate_missing([problem], ["low"], 1, endpoints, tmp_path / "out.jsonl", 1, counts)
    assert counts["generations"] == 1
