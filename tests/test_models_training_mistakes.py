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
from models.training.mistakes import mark, wrong_sentences, wrong_step_numbers
from models.training.recipe import Critic, Mistakes


def with_slips(n: int, slips: float) -> list[Example]:
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
    examples = with_slips(300, 0.3)
    for example in examples:
        wrong = wrong_sentences(example.reasoning)
        assert len(wrong) == example.reasoning.count("Wrong, again.")
        for start, end in wrong:
            assert example.reasoning[start:end].endswith(".")
            assert example.reasoning[end:].startswith(" Check ")
    assert sum("Wrong" in example.reasoning for example in examples) > 100
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
    assert [reasoning[start:end] for start, end in wrong_sentences(reasoning)] == wrong


@pytest.mark.parametrize("then", ["mask", "train", "drop"])
def test_wrong_steps_are_masked_trained_or_dropped(tmp_path: Path, then: str) -> None:
    examples, counts = with_slips(40, 0.3), Counter[str]()
    mistakes = Mistakes.model_validate({"found_by": "arithmetic", "then": then})
    marked = mark(examples, mistakes, tmp_path / "critic.jsonl", counts)
    assert counts["with_wrong_steps"] == sum("Wrong" in row.reasoning for row in examples)
    assert len(marked) == 40 - (counts["with_wrong_steps"] if then == "drop" else 0)
    assert any(example.wrong for example in marked) is (then == "mask")


@pytest.mark.parametrize("found_by", ["nobody", "arithmetic"])
@pytest.mark.parametrize(("then", "kept"), [("mask", [[0, 3]]), ("train", []), ("drop", None)])
def test_steps_that_a_seed_s_file_calls_wrong_are_wrong(
    tmp_path: Path, found_by: str, then: str, kept: list[list[int]] | None
) -> None:
    example = Example("p", "?", "low", "So. 1+1=2.", "2", 9, wrong=[[0, 3]])
    mistakes = Mistakes.model_validate({"found_by": found_by, "then": then})
    marked = mark([example], mistakes, tmp_path / "critic.jsonl", Counter())
    assert [row.wrong for row in marked] == ([] if kept is None else [kept])


@pytest.mark.slow
def test_a_critic_gets_one_request_per_example_and_a_killed_run_continues(tmp_path: Path) -> None:
    examples, file = with_slips(12, 0.3), tmp_path / "critic.jsonl"
    with teaching({}) as critic:
        mistakes = Mistakes(found_by="critic", critic=Critic(url=critic.url, model="c"))
        marked = mark(examples[:7], mistakes, file, Counter())
        with file.open("a") as out:
            out.write('{"half a li')
        requests = critic.asked
        marked = mark(examples, mistakes, file, Counter())
        assert critic.asked < requests + 9
        requests = critic.asked
        assert (
            mark(examples, mistakes, tmp_path / "other.jsonl", Counter(), already_marked=marked)
            == marked
        )
        assert critic.asked == requests
        assert [row.problem_id for row in marked] == [row.problem_id for row in examples]
    assert sum(len(example.wrong) for example in marked) > 10
    for example in marked:
        assert example.wrong == wrong_sentences(example.reasoning)


@pytest.mark.slow
def test_a_verdict_that_cannot_be_read_is_left_out_and_counted(tmp_path: Path) -> None:
    examples, counts = with_slips(20, 0.3), Counter[str]()
    with teaching({}) as critic:
        critic.unreadable = {examples[3].prompt: "Looks good to me."}
        mistakes = Mistakes(found_by="critic", critic=Critic(url=critic.url, model="c"))
        file = tmp_path / "critic.jsonl"
        marked = mark(examples, mistakes, file, counts)
        assert len(marked) == 19
        assert examples[3].problem_id not in {example.problem_id for example in marked}
        assert (counts["critic_unreadable"], counts["critic_refused"]) == (1, 0)
        critic.unreadable = {}
        assert len(mark(examples, mistakes, file, Counter())) == 20  # a rerun asks again


def test_the_critic_s_last_list_counts_and_must_have_numbers_of_steps() -> None:
    assert wrong_step_numbers("[1] no: [2, 2]", 3) == [2]
    assert wrong_step_numbers("[1, 2,]", 3) == [1, 2]
    assert wrong_step_numbers("none is wrong: []", 3) == []
    assert wrong_step_numbers("nothing wrong", 3) is None
    assert wrong_step_numbers("[2, 9]", 3) is None
    assert wrong_step_numbers("[0]", 3) is None
