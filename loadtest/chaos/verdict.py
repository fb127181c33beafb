"""What has to hold after a chaos run, whatever broke in it; pure functions of its evidence."""

import signal
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from loadtest.chaos.evidence import Evidence
from loadtest.record import Record

_GROWTH_BYTES = 32 * 2**20
_MORE_DESCRIPTORS = 8
_SCRAPE_SECONDS = 5.0
"""Half of what Prometheus waits by default."""

_EXIT_SECONDS = 5.0
_LEFT = 499
_ENDED = (0, -signal.SIGTERM)
_SHOWN = 3


@dataclass(frozen=True)
class Check:
    """One thing that has to hold, whether it did, and the figures."""

    name: str
    holds: bool
    told: str


def verdict(evidence: Evidence) -> list[Check]:
    """Every check, in the order in which a reader would ask."""
    return [Check(name, *check(evidence)) for name, check in _CHECKS]


def _faults(evidence: Evidence) -> tuple[bool, str]:
    """A fault that did not bite proves nothing."""
    ended = Counter(record.ended for record in evidence.records)
    broken = sum((record.status or 0) >= 502 for record in evidence.records)
    slowest = max((r.latency for r in evidence.records if r.client == "normal"), default=0.0)
    found = {
        "malformed": ended["refused"],
        "clients left": ended["disconnected"],
        "refused while the engine was down": broken,
        "times the ledger was refused": evidence.ledger_refused,
        "streams open at SIGTERM": evidence.ending.open_streams,
    }
    told = ", ".join(f"{count} {what}" for what, count in found.items())
    stalled = slowest >= evidence.stall_seconds
    return stalled and all(found.values()), f"{told}; slowest request {slowest:.1f} s"


def _ended_once(evidence: Evidence) -> tuple[bool, str]:
    """Every request that the gateway answered at all, it closed once; none was made up."""
    lines = Counter(one.request_id for one in evidence.closed)
    accepted = [record for record in evidence.records if record.status is not None]
    lost = [one.request_id for one in accepted if one.request_id not in lines]
    twice = [request_id for request_id, count in lines.items() if count > 1]
    ended = Counter(record.ended for record in accepted)
    told = ", ".join(f"{count} {how}" for how, count in sorted(ended.items()))
    bad = _some("never closed", lost) + _some("closed twice", twice)
    return not bad, f"{len(accepted)} accepted: {told}{bad}"


def _no_hang(evidence: Evidence) -> tuple[bool, str]:
    hung = [one.request_id for one in evidence.records if one.error == "timeout"]
    return not hung, f"{len(hung)} timed out" + _some("", hung)


def _same_ending(evidence: Evidence) -> tuple[bool, str]:
    """Client and gateway tell the same of a request."""
    status = {one.request_id: one.status for one in evidence.closed}
    odd = [
        f"{one.request_id} ({one.error or one.ended}, {status[one.request_id]})"
        for one in evidence.records
        if one.request_id in status and not _agree(one, status[one.request_id])
    ]
    return not odd, f"{len(odd)} told differently" + _some("", odd)


def _agree(record: Record, status: int) -> bool:
    if record.ended == "answer":
        return status == 200
    if record.ended == "disconnected":  # what it left may have been over, or broken, by then
        return status == 200 or status >= _LEFT
    if record.status is None or record.status == 200:  # cut off, or an error event
        return status >= _LEFT
    return status == record.status


def _at_rest(evidence: Evidence) -> tuple[bool, str]:
    in_flight = evidence.metrics["tops_in_flight"]
    told = f"tops_in_flight {in_flight:g}, {evidence.engine_running} running on the engine"
    return in_flight == evidence.engine_running == 0, told


def _memory(evidence: Evidence) -> tuple[bool, str]:
    grown = evidence.after.resident - evidence.before.resident
    told = f"{evidence.before.resident / 2**20:.0f} MiB before, {grown / 2**20:+.1f} MiB after"
    return grown <= _GROWTH_BYTES, told


def _descriptors(evidence: Evidence) -> tuple[bool, str]:
    before, after = evidence.before.descriptors, evidence.after.descriptors
    return after <= before + _MORE_DESCRIPTORS, f"{before} before, {after} after"


def _tokens(evidence: Evidence) -> tuple[bool, str]:
    """What the gateway answered, the engine told it; what that told to its end, was answered."""
    answered = {one.request_id: one for one in evidence.closed if one.status == 200}
    status = {one.request_id: one.status for one in evidence.closed}
    wrong = [
        request_id
        for request_id, one in answered.items()
        if (counted := evidence.whole.get(request_id)) is None
        or (counted.thinking, counted.answer) != (one.thinking, one.answer)
    ]
    dropped = [
        request_id
        for request_id in evidence.whole.keys() & status.keys()
        if status[request_id] not in (200, _LEFT)
    ]
    thinking = sum(one.thinking or 0 for one in answered.values())
    told = f"{len(answered)} answers, {thinking} thinking tokens on both sides"
    bad = _some("differ", wrong) + _some("lost", dropped)
    return not bad, told + bad


def _metrics(evidence: Evidence) -> tuple[bool, str]:
    """The counters are the sums of the log."""
    closed = evidence.closed[: evidence.at_rest]
    answered = [one for one in closed if one.status == 200]
    expected = {
        "tops_requests_total": len(closed),
        "tops_thinking_tokens_total": sum(one.thinking or 0 for one in answered),
        "tops_answer_tokens_total": sum(one.answer or 0 for one in answered),
    }
    found = {name: evidence.metrics.get(name, 0.0) for name in expected}
    told = ", ".join(
        f"{name} {found[name]:.0f}" + ("" if found[name] == count else f" for {count} logged")
        for name, count in expected.items()
    )
    return found == expected, told


def _ledger(evidence: Evidence) -> tuple[bool, str]:
    """Every request that was decided has its row, with the counts of the log."""
    decided = {one.request_id: one for one in evidence.closed if one.decided}
    differ = [
        request_id
        for request_id in decided.keys() | evidence.ledger.keys()
        if decided.get(request_id) != evidence.ledger.get(request_id)
    ]
    lost = evidence.metrics.get("tops_ledger_lost_total", 0.0)
    told = f"{len(evidence.ledger)} rows for {len(decided)} decided requests, {lost:g} lost"
    return not (differ or lost), told + _some("differ", differ)


def _scraped(evidence: Evidence) -> tuple[bool, str]:
    took = [seconds for seconds in evidence.scrapes if seconds is not None]
    failed = len(evidence.scrapes) - len(took)
    slowest = max(took, default=0.0)
    told = f"{len(took)} scrapes, {failed} failed, slowest {1000 * slowest:.0f} ms"
    return bool(took) and not failed and slowest <= _SCRAPE_SECONDS, told


def _ended_gateway(evidence: Evidence) -> tuple[bool, str]:
    ending = evidence.ending
    told = (
        f"exit status {ending.status} {ending.seconds:.1f} s after it, "
        f"of {ending.drain_seconds:g} s to drain"
    )
    in_time = ending.seconds <= ending.drain_seconds + _EXIT_SECONDS
    return ending.status in _ENDED and in_time, told


def _quiet(evidence: Evidence) -> tuple[bool, str]:
    told = f"{len(evidence.oddities)} errors in its log"
    return not evidence.oddities, told + _some("", [one[:300] for one in evidence.oddities])


def _some(what: str, names: Sequence[str]) -> str:
    if not names:
        return ""
    return f"; {len(names)} {what}: {', '.join(names[:_SHOWN])}".replace("  ", " ")


_CHECKS: Sequence[tuple[str, Callable[[Evidence], tuple[bool, str]]]] = (
    ("the faults happened", _faults),
    ("every accepted request ended once", _ended_once),
    ("nothing hung", _no_hang),
    ("clients and gateway agree on each end", _same_ending),
    ("gauges are back at zero", _at_rest),
    ("memory returned", _memory),
    ("descriptors returned", _descriptors),
    ("tokens are what the engine counted", _tokens),
    ("metrics are the log's sums", _metrics),
    ("the ledger has it all", _ledger),
    ("every scrape was answered", _scraped),
    ("SIGTERM ended the gateway", _ended_gateway),
    ("the gateway met nothing unexpected", _quiet),
)
