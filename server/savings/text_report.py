"""The savings report as text."""

from collections.abc import Iterator, Mapping
from typing import Any

from server.savings.conversations import conversation_lines
from server.savings.loops import loop_lines

_HEAVY_TAIL = """\
  warning: a few long conversations decide the mean. The intervals are wider for that, by what the
  treated conversations show; they assume that lengths at the baseline have as heavy a tail"""


def text_report(report: Mapping[str, Any]) -> str:
    """The report as lines of text, one per measure and group."""
    return "\n".join(_lines(report))


def _lines(report: Mapping[str, Any]) -> Iterator[str]:
    requests = report["requests"]
    yield "requests: " + (", ".join(f"{n} {arm}" for arm, n in sorted(requests.items())) or "none")
    if report.get("refused"):
        yield f"{report['refused']} more were refused (HTTP 400 to 498): not counted"
    if report["not_comparable"]:
        yield f"{report['not_comparable']} of them without a holdout: not counted below"
    yield from _abstentions(report.get("abstentions"))
    yield ""
    for name, entry in report["savings"].items():
        yield f"{name.replace('_', ' '):<18} {saving(entry)}"
    if report["savings"]["thinking_tokens"]["heavy_tail"]:
        yield _HEAVY_TAIL
    accuracy = report["accuracy"]
    if accuracy is None:
        yield "accuracy           no feedback yet (POST /v1/feedback)"
    else:
        yield f"accuracy           {difference(accuracy)}"
    for name, groups in report["by"].items():
        yield f"\nthinking tokens by {name}"
        for group, entry in groups.items():
            yield f"  {group!s:<16} {saving(entry)}"
    yield from _sessions(report)
    if report.get("what_if"):
        yield "\nwhat if: thinking tokens per request"
        for name, value in report["what_if"].items():
            yield f"  {name:<16} {_value(value)}"


def _abstentions(entry: Mapping[str, Any] | None) -> Iterator[str]:
    if entry and entry["reasons"]:
        number, (reason, *_) = sum(entry["reasons"].values()), entry["reasons"]
        requests = entry["requests"]
        yield f"the router abstained on {number} of the newest {requests}: those save nothing"
        yield f"  mostly: {reason} (docs/troubleshooting.md, The router abstains, has what to do)"


def _sessions(report: Mapping[str, Any]) -> Iterator[str]:
    if report.get("spending"):
        yield from _spending(report["spending"])
    if report.get("conversations", {}).get("conversations"):
        yield ""
        yield from conversation_lines(report["conversations"])
    if report.get("loops"):
        yield ""
        yield from loop_lines(report["loops"])


def _spending(spending: Mapping[str, Any]) -> Iterator[str]:
    parts = ", ".join(
        f"{_amount(money)} {name.replace('_', ' ')}" for name, money in spending["money"].items()
    )
    yield f"\nmoney spent by all requests: {_amount(spending['total'])} ({parts})"
    for name in ("model", "key"):
        groups = spending["by"][name].items()
        yield f"  by {name}: " + ", ".join(f"{group} {_amount(sum_)}" for group, sum_ in groups)
    if spending["unpriced_models"]:
        yield "  without a price: " + ", ".join(spending["unpriced_models"])


def saving(entry: Mapping[str, Any]) -> str:
    """One saving as a line: its share with an interval, or the counts it is pending on."""
    held_out = f"{entry['requests']} treated, {entry['held_out_requests']} held out"
    if entry["pending"]:
        return f"pending ({held_out})"
    low, high = entry["share_ci"]
    return (
        f"{entry['share']:.1%} [{low:.1%}, {high:.1%}] saved: {_amount(entry['saved'])} of "
        f"{_amount(entry['saved'] + entry['taken'])} ({held_out})"
    )


def _amount(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"


def difference(accuracy: Mapping[str, Any]) -> str:
    """The accuracy difference as a line, or the counts it is pending on."""
    counts = (
        f"{accuracy['requests']} treated, {accuracy['held_out_requests']} held out with feedback"
    )
    if accuracy["pending"] or accuracy["difference_ci"] is None:
        return f"pending ({counts})"
    low, high = accuracy["difference_ci"]
    return (
        f"{100 * accuracy['difference']:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}] "
        f"against the baseline effort ({counts})"
    )


def _value(value: Mapping[str, Any] | None) -> str:
    if value is None:
        return "no requests to evaluate it on"
    if value["pending"]:
        return "pending: too few requests got the effort that it would choose"
    low, high = value["tokens_ci"]
    text = f"{value['tokens']:.1f} [{low:.1f}, {high:.1f}]"
    if value["supported"] < 1:
        text += f"; {1 - value['supported']:.0%} of it from predictions alone"
    return text
