"""Selection of training data: shortest correct answers, pairs, the seed relabelled by length."""

from collections import Counter
from typing import Any

import pytest

from models.training.examples import Example
from models.training.recipe import Selection
from models.training.seed import relabelled
from models.training.selection import Rule, chosen_answers, preference_pairs

LADDER = ("low", "medium", "high")


def row(
    effort: str, tokens: int, correct: int = 1, sample: int = 0, **fields: Any
) -> dict[str, Any]:
    return {
        "problem_id": "p",
        "prompt": "?",
        "reasoning": f"{effort}{sample}",
        "response": "5",
        "effort": effort,
        "tokens": tokens,
        "correct": correct,
        "sample": sample,
        "truncated": False,
        **fields,
    }


def example(effort: str, tokens: int, problem: str = "p") -> Example:
    return Example(problem, "?", effort, "r", "5", tokens)


def choose(
    rows: list[dict[str, Any]],
    seeds: list[Example] | None = None,
    rule: Rule = "shortest",
    **selection: Any,
) -> tuple[list[Example], Counter[str]]:
    counts, table = Counter[str](), Selection(**selection)
    chosen = chosen_answers(rows, seeds or [], rule, table, LADDER, 0, counts)
    return chosen, counts


def test_the_shortest_correct_answer_is_chosen_untagged() -> None:
    (chosen,), counts = choose([row("high", 90), row("medium", 40), row("low", 9, correct=0)])
    assert (chosen.reasoning, chosen.effort) == ("medium0", "auto")
    assert counts["from_medium"] == 1


def test_ties_go_to_the_lower_effort_then_to_the_earlier_sample() -> None:
    (chosen,), _ = choose([row("high", 9), row("low", 9, sample=1), row("low", 9, sample=0)])
    assert chosen.reasoning == "low0"


def test_problems_without_a_correct_answer_are_counted() -> None:
    chosen, counts = choose([row("high", 9, correct=0), row("low", 5, truncated=True)])
    assert chosen == []
    assert counts["without_a_correct_answer"] == 1


def test_the_seed_s_low_answers_are_added_and_its_tags_where_asked() -> None:
    seeds = [example(effort, 9) for effort in LADDER]
    chosen, _ = choose([], seeds)
    assert [example.effort for example in chosen] == ["auto"]
    chosen, _ = choose([], seeds, keep_tags=True, with_seed_low=False)
    assert chosen == seeds


def test_random_takes_any_correct_answer_and_the_order_of_the_file_does_not_matter() -> None:
    rows = [row("high", 90, problem_id=str(n)) for n in range(40)]
    rows += [row("low", 9, problem_id=str(n)) for n in range(40)]
    chosen, counts = choose(rows, rule="random")
    assert 5 < counts["from_low"] < 35
    again, _ = choose(list(reversed(rows)), rule="random")
    assert [example.problem_id for example in again] == [example.problem_id for example in chosen]


def pairs(*rows: dict[str, Any]) -> list[tuple[str, str]]:
    return [(a.reasoning, b.reasoning) for a, b in preference_pairs(rows, Counter())]


def test_pairs_are_those_of_the_paper() -> None:
    short = row("auto", 30, sample=0)
    long = row("auto", 50, sample=1)
    longest_wrong = row("auto", 99, correct=0, sample=2)
    middling_wrong = row("auto", 60, correct=0, sample=3)
    shorter_wrong = row("auto", 5, correct=0, sample=4)
    assert pairs(short, long, middling_wrong, longest_wrong) == [("auto0", "auto2")]
    assert pairs(short, longest_wrong, shorter_wrong) == [("auto0", "auto2"), ("auto0", "auto4")]
    assert pairs(short, shorter_wrong) == [("auto0", "auto4")]
    assert pairs(short, long) == []
    assert pairs(longest_wrong, shorter_wrong) == []


def test_a_cut_off_answer_is_neither_chosen_nor_rejected() -> None:
    cut = row("auto", 99, correct=0, sample=1, truncated=True)
    assert pairs(row("auto", 30), cut) == []


@pytest.mark.parametrize(
    "fields", [{"response": "</think> 5"}, {"reasoning": "a <think> b"}, {"response": " "}]
)
def test_a_right_answer_in_another_form_is_not_learned(fields: dict[str, Any]) -> None:
    malformed, longer = row("auto", 9, **fields), row("auto", 30, sample=1)
    chosen, _ = choose([{**malformed, "effort": "low"}, {**longer, "effort": "low"}])
    assert chosen[0].tokens == 30
    assert choose([{**malformed, "effort": "low"}])[1]["without_a_correct_answer"] == 1
    wrong = row("auto", 40, correct=0, sample=2)
    ((best, _),) = preference_pairs([malformed, longer, wrong], Counter())
    assert best.tokens == 30


def test_the_seed_is_relabelled_by_length() -> None:
    counts = Counter[str]()
    examples = [example("low", 30), example("medium", 10), example("high", 20)]
    assert [(row.effort, row.tokens) for row in relabelled(examples, LADDER, 0, counts)] == [
        ("low", 10),
        ("medium", 20),
        ("high", 30),
    ]
    assert counts["relabelled"] == 3


@pytest.mark.parametrize(
    ("tokens", "gap", "why"),
    [((10, 20, 29), 10, "too_alike"), ((10, 10, 30), 0, "too_alike")],
)
def test_a_seed_whose_lengths_hardly_differ_is_left_out(
    tokens: tuple[int, ...], gap: int, why: str
) -> None:
    counts = Counter[str]()
    examples = [example(effort, count) for effort, count in zip(LADDER, tokens, strict=True)]
    assert relabelled(examples, LADDER, gap, counts) == []
    assert counts[why] == 1


def test_of_many_solutions_the_shortest_and_the_longest_are_learned() -> None:
    examples = [example("low", count) for count in (10, 11, 20, 21, 22, 40)]
    selected = relabelled(examples, LADDER, 5, Counter())
    assert [(row.effort, row.tokens) for row in selected] == [
        ("low", 10),
        ("medium", 20),
        ("high", 40),
    ]


def test_a_seed_must_be_right_at_every_effort() -> None:
    counts = Counter[str]()
    thinking = [example("low", count) for count in (1, 9, 20)]
    assert relabelled(thinking, ("none", "low", "medium"), 0, counts) == []
    assert counts.pop("not_right_at_every_effort") == 1
    assert relabelled([example("low", 1), example("high", 9)], LADDER, 0, counts) == []
    assert counts["not_right_at_every_effort"] == 1
