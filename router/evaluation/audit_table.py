"""An audit of fixed efforts as text: overall, then each kind of traffic."""

from collections.abc import Iterator, Mapping
from typing import Any

from router.evaluation.report import with_interval


def audit_table(result: Mapping[str, Any]) -> str:
    """The object of `router.evaluation.audit.audit` as lines of text."""
    lines = list(_part(result["model"], result, result))
    for kind, part in result["kinds"].items():
        lines += ["", *_part(f"kind {kind}", part, result)]
    return "\n".join((
        *lines,
        "",
        *_halves(result),
        "Intervals are 95 % intervals over distinct prompts. Claims of dominance and of the "
        f"recommendation hold with confidence {result['confidence']:g}, each of them for all "
        "efforts together" + (" and for each kind by itself." if result["kinds"] else "."),
    ))  # fmt: skip


def _halves(result: Mapping[str, Any]) -> Iterator[str]:
    """Lines with what the choices are worth on prompts that they were not made on."""
    halves, by_kind = result["halves"], result["kind_halves"]
    if halves is not None:
        efforts = ", ".join(f"{effort} {share:.0%}" for effort, share in halves["chosen"].items())
        yield (
            f"chosen on a half, judged on the other ({halves['splits']} times): {efforts}; "
            f"accuracy lost {with_interval(halves, 'accuracy_loss', 4)}, more than "
            f"{result['max_loss']:g} in {halves['broken']:.0%}; saved "
            f"{_percent(halves, 'saved_share')}"
        )
    if by_kind is not None:
        yield (
            "an effort per kind, chosen likewise, minus the same efforts dealt at random: accuracy "
            f"{with_interval(by_kind, 'accuracy_minus_shuffled', 4, '+')}, tokens "
            f"{with_interval(by_kind, 'tokens_minus_shuffled', 1, '+')}"
        )


def _part(title: str, part: Mapping[str, Any], result: Mapping[str, Any]) -> Iterator[str]:
    repeated = part["problem_ids"] - part["prompts"]
    yield (
        f"{title}: {part['prompts']} distinct prompts"
        + (f" of {part['problem_ids']} problem_ids" if repeated else "")
        + (f" in {part['clusters']} clusters" if part["clusters"] < part["prompts"] else "")
    )
    rows = [("effort", "accuracy", "tokens", "")]
    rows += [
        (
            name,
            with_interval(entry, "accuracy", 4),
            with_interval(entry, "tokens", 1),
            "dominated by " + ", ".join(entry["dominated_by"]) if entry["dominated_by"] else "",
        )
        for name, entry in part["efforts"].items()
    ]
    yield from _columns(rows)
    rows = [("difference", "accuracy", "tokens", "share saved by the cheaper")]
    rows += [
        (
            f"{pair['effort']} - {pair['minus']}",
            with_interval(pair, "accuracy", 4, "+"),
            with_interval(pair, "tokens", 1, "+"),
            _percent(pair, "saved_share"),
        )
        for pair in part["differences"]
    ]
    yield from _columns(rows)
    yield _recommendation(part, result["max_loss"])


def _columns(rows: list[tuple[str, str, str, str]]) -> Iterator[str]:
    widths = [max(map(len, column)) + 2 for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        yield "  " + "".join(cells).rstrip()


def _recommendation(part: Mapping[str, Any], max_loss: float) -> str:
    effort, best, saving = part["recommended"], part["most_accurate"], part["saving"]
    if not part["certified"]:
        return (
            f"recommended: {effort}, the most accurate here; that another effort loses at most "
            f"{max_loss:g} is not certified"
        )
    if effort == best == next(iter(part["efforts"])):
        return f"recommended: {effort}, the most accurate and the cheapest"
    if effort == best:
        return (
            f"recommended: {effort}, the most accurate; no cheaper effort is certified to lose at "
            f"most {max_loss:g}"
        )
    return (
        f"recommended: {effort}, certified to lose at most {max_loss:g} accuracy; it saves "
        f"{_percent(saving, 'share')} of the tokens of {best}"
    )


def _percent(entry: Mapping[str, Any], name: str) -> str:
    low, high = entry[f"{name}_ci"]
    return f"{entry[name]:.1%} [{low:.1%}, {high:.1%}]"
