"""Which of a model's own answers it learns from: TOPS' shortest correct ones, and pairs for DPO.

Pure rules over judged generations; see TOPS (arXiv 2502.18080), section 4 and its iterations.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from models.training.examples import Example
from models.training.recipe import Selection

Rule = Literal["shortest", "random"]

Outcome = Mapping[str, Any]
"""A judged generation: a row of the outcome contract that keeps its response and reasoning."""


def chosen_answers(
    outcomes: Iterable[Outcome],
    seeds: Sequence[Example],
    rule: Rule,
    selection: Selection,
    efforts: Sequence[str],
    seed: int,
    counts: Counter[str],
) -> list[Example]:
    """One correct answer of each problem, for a model that decides by itself; and the seed's share.

    The shortest by tokens over all efforts and samples; of equally short ones the lower effort's,
    then the earlier sample. By the rule `random`, the paper's ablation, any of them. Problems
    without a correct answer are counted.
    """
    rng = random.Random(f"select:{seed}")
    chosen: list[Example] = []
    for rows in grouped(outcomes).values():
        correct = [row for row in rows if row["correct"] and not row["truncated"]]
        if not correct:
            counts["without_a_correct_answer"] += 1
            continue
        correct.sort(key=lambda row: (row["tokens"], efforts.index(row["effort"]), row["sample"]))
        row = correct[0] if rule == "shortest" else rng.choice(correct)
        counts[f"from_{row['effort']}"] += 1
        chosen.append(Example.of(row, "auto"))
    lowest = next(effort for effort in efforts if effort != "none")
    if selection.with_seed_low:
        low = [replace(one, effort="auto") for one in seeds if one.effort == lowest]
        counts["from_the_seed"] += len(low)
        chosen += low
    if selection.keep_tags:
        counts["with_tags"] += len(seeds)
        chosen += seeds
    return chosen


def preference_pairs(
    outcomes: Iterable[Outcome], counts: Counter[str]
) -> list[tuple[Example, Example]]:
    """(chosen, rejected) pairs, as published.

    Chosen is a problem's shortest correct answer; rejected its longest incorrect one, and besides
    its shortest incorrect one where that is shorter than the chosen, so that brevity alone is not
    what is preferred.
    """
    pairs: list[tuple[Example, Example]] = []
    for rows in grouped(outcomes).values():
        ordered = sorted(rows, key=lambda row: (row["tokens"], row["sample"]))
        correct = [row for row in ordered if row["correct"] and not row["truncated"]]
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
    """Outcomes by problem, in the order of their ids: that of the file is chance."""
    groups: dict[str, list[Outcome]] = defaultdict(list)
    for row in outcomes:
        groups[row["problem_id"]].append(row)
    return dict(sorted(groups.items()))
