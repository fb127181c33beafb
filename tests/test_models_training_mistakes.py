"""Wrong steps: found by arithmetic or by a critic over HTTP, and then masked, dropped or kept."""

import random
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest
from teacher import teaching

from models.domain.reasoning_traces import answer_text, trace
from models.domain.stories import stories
from models.training.examples import Example
from models.training.mistakes import mark, steps_of, wrong_sentences, wrong_step_numbers
from models.training.recipe import Critic, Mistakes


def slipped(n: int, slips: float) -> list[Example]:
    rng = random.Random(5)
    return [
        Example(
            story.problem_id,
            story.prompt,
            "high",
            trace(story, "high", slips, rng),
            answer_text(story),
            9,
        )
        for story in islice(stories(1), n)
    ]


def test_every_slip_is_found_and_nothing_else() -> None:
    told = slipped(300, 0.3)
    for one in told:
        wrong = wrong_sentences(one.reasoning)
        assert len(wrong) == one.reasoning.count("Wrong, again.")
        for first, end in wrong:
            assert one.reasoning[first:end].endswith(".")
            assert one.reasoning[end:].startswith(" Check ")
    assert sum("Wrong" in one.reasoning for one in told) > 100
    for story in islice(stories(2), 300):
        assert all(
            not wrong_sentences(trace(story, effort)) for effort in ("low", "medium", "high")
        )


@pytest.mark.parametrize(
    ("reasoning", "wrong"),
    [
        ("12+5=17\n17-3=13", ["17-3=13"]),
        ("12+5: 2+5=7 1+0=1 so 18. Check 18-5=13", ["12+5: 2+5=7 1+0=1 so 18."]),
        ("9+9: 9+9=18 0+0+1=2 so 28.", ["9+9: 9+9=18 0+0+1=2 so 28."]),
        ("42: 12/5=2", ["42: 12/5=2"]),
        ("17 20 35", []),
        ("", []),
    ],
)
def test_arithmetic(reasoning: str, wrong: list[str]) -> None:
    assert [reasoning[first:end] for first, end in wrong_sentences(reasoning)] == wrong


@pytest.mark.parametrize("then", ["mask", "train", "drop"])
def test_what_becomes_of_them(tmp_path: Path, then: str) -> None:
    told, counts = slipped(40, 0.3), Counter[str]()
    mistakes = Mistakes.model_validate({"found_by": "arithmetic", "then": then})
    kept = mark(told, mistakes, tmp_path / "critic.jsonl", counts)
    assert counts["with_wrong_steps"] == sum("Wrong" in one.reasoning for one in told)
    assert len(kept) == 40 - (counts["with_wrong_steps"] if then == "drop" else 0)
    assert any(one.wrong for one in kept) is (then == "mask")


def test_a_critic_is_asked_once_for_each_and_a_killed_run_goes_on(tmp_path: Path) -> None:
    told, file = slipped(12, 0.3), tmp_path / "critic.jsonl"
    with teaching({}) as critic:
        found = Mistakes(found_by="critic", critic=Critic(url=critic.url, model="c"))
        marked = mark(told[:7], found, file, Counter())
        with file.open("a") as out:
            out.write('{"half a li')
        asked = critic.asked
        marked = mark(told, found, file, Counter())
        assert critic.asked < asked + 9
        asked = critic.asked
        assert (
            mark(told, found, tmp_path / "other.jsonl", Counter(), already_marked=marked) == marked
        )
        assert critic.asked == asked
        assert [one.problem_id for one in marked] == [one.problem_id for one in told]
    for one in marked:
        lines = [one.reasoning[first:end] for first, end in one.wrong]
        assert lines == [line for line in one.reasoning.split("\n") if "Wrong, again" in line]


def test_a_critic_s_last_list_counts_and_odd_numbers_do_not() -> None:
    assert wrong_step_numbers("[1] no: [2, 9, 0, 2]", 3) == [2]
    assert wrong_step_numbers("nothing wrong", 3) == []
    assert wrong_step_numbers("[1, 2,]", 3) == [1, 2]
    assert wrong_step_numbers("[,]", 3) == []


def test_steps_are_paragraphs_or_lines() -> None:
    text = "a\nb\n\nc"
    assert [text[first:end] for first, end in steps_of(text)] == ["a\nb", "c"]
    text = "a\n\tb\n"
    assert [text[first:end] for first, end in steps_of(text)] == ["a", "\tb"]
