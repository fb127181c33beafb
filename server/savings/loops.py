"""Effort and tokens per turn of a tool loop, by the number of the turn."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from server.ledger.loop_figures import LoopSums, name_of
from server.ledger.tables import LOOP_SUMS

_MEANS = LOOP_SUMS[1:]


def loop_report(rows: Sequence[LoopSums]) -> list[dict[str, Any]]:
    """An entry per turn and arm, in this order: requests, requests by effort, and means."""
    groups: dict[tuple[int, str], dict[str, Any]] = {}
    for turn_number, arm, effort, *sums in rows:
        if not sums[0]:
            continue
        group = groups.setdefault(
            (turn_number, arm), {"efforts": {}, "sums": [0.0] * len(LOOP_SUMS)}
        )
        group["efforts"][effort] = group["efforts"].get(effort, 0) + round(sums[0])
        group["sums"] = [a + (b or 0.0) for a, b in zip(group["sums"], sums, strict=True)]
    return [
        {
            "turn": name_of(turn_number),
            "arm": arm or "explicit",
            "requests": round(group["sums"][0]),
            "efforts": dict(sorted(group["efforts"].items())),
            "mean": {
                name: total / group["sums"][0]
                for name, total in zip(_MEANS, group["sums"][1:], strict=True)
            },
        }
        for (turn_number, arm), group in sorted(groups.items())
    ]


def loop_lines(report: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The entries as lines of text."""
    if not report:
        return
    yield "turns of tool loops: means of tokens per request"
    for entry in report:
        mean, number = entry["mean"], entry["requests"]
        efforts = ", ".join(
            f"{effort} {count / number:.0%}" for effort, count in entry["efforts"].items()
        )
        yield (
            f"  {entry['turn']:<6} {entry['arm']:<9} {mean['thinking_tokens']:>8,.0f} thinking "
            f"{mean['answer_tokens']:>7,.0f} answer {mean['prompt_tokens']:>8,.0f} prompt "
            f"({number:,} requests: {efforts})"
        )
