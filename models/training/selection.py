"""Selects training data from judged generations: shortest correct answers, and pairs for DPO.

Pure functions over outcomes; TOPS (arXiv 2502.18080), section 4 and its iterations.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from models.training.examples import Example, is_whole
from models.training.recipe import Selection

Rule = Literal["shortest", "random"]

Outcome = Mapping[str, Any]
"""A row of the outcome contract with its response and reasoning."""


def chosen_answers(
    outcomes: Iterable[Outcome],
    seeds: Sequence[Example],
    rule: Rule,
    selection: Selection,
    efforts: Sequence[str],
    seed: int,
    counts: Counter[str],
) -> list[Example]:
    """A correct answer per problem, for a model that chooses the effort itself, and seed examples.

    The rule `shortest` takes the fewest tokens over all efforts and samples; of equals the lower
    effort, then the earlier sample. The rule `random` is the paper's ablation. Problems without a
    correct answer are counted.
    """
    rng = random.Random(f"select:{seed}")
    chosen: list[Example] = []
    for rows in grouped(outcomes).values():
        correct = [row for row in rows if row["correct"] and is_whole(row)]
        if not correct:
            counts["without_a_correct_answer"] += 1
            continue
        correct.sort(key=lambda row: (row["tokens"], efforts.index(row["effort"]), row["sample"]))
        row = correct[0] if rule == "shortest" else rng.choice(correct)
        counts[f"from_{row['effort']}"] += 1
        chosen.append(Example.of(row, "auto"))
    lowest = next(effort for effort in efforts if effort != "none")
    if selection.with_seed_low:
        low = [replace(example, effort="auto") for example in seeds if example.effort == lowest]
        counts["from_the_seed"] += len(low)
        chosen += low
    if selection.keep_tags:
        counts["with_tags"] += len(seeds)
        chosen += seeds
    return chosen


def preference_pairs(
    outcomes: Iterable[Outcome], counts: Counter[str]
) -> list[tuple[Example, Example]]:
    """(chosen, rejected) pairs, as in the paper.

    Chosen is a problem's shortest correct answer; rejected is its longest incorrect one. Where the
    shortest incorrect one is shorter than the chosen, it makes a second pair, so that DPO does not
    learn to prefer brevity alone.
    """
    pairs: list[tuple[Example, Example]] = []
    for rows in grouped(outcomes).values():
        ordered = sorted(rows, key=lambda row: (row["tokens"], row["sample"]))
        correct = [row for row in ordered if row["correct"] and is_whole(row)]
        incorrect = [row for row in ordered if not row["correct"] and not row["truncated"]]
        counts["truncated"] += sum(row["truncated"] for row in ordered)
        if not correct:
            counts["without_a_correct_answer"] += 1
        elif not incorrect:
            counts["without_an_incorrect_answer"] += 1
        else:
            best = Example.of(correct[0], "auto")
            rejected = [incorrect[-1]]
            if incorrect[0]["tokens"] < best.tokens and incorrect[0] is not incorrect[-1]:
                rejected.append(incorrect[0])
                counts["with_shorter_incorrect"] += 1
            pairs += [(best, Example.of(row, "auto")) for row in rejected]
    counts["pairs"] = len(pairs)
    return pairs


def grouped(outcomes: Iterable[Outcome]) -> dict[str, list[Outcome]]:
    """Outcomes by problem, sorted by id: the order of rows in the file is random."""
    groups: dict[str, list[Outcome]] = defaultdict(list)
    for row in outcomes:
        groups[row["problem_id"]].append(row)
    return dict(sorted(groups.items()))
