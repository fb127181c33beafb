"""The checks of a chaos run, as pure functions of its evidence."""

import signal
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from loadtest.chaos.evidence import Evidence
from loadtest.record import Record
from loadtest.tables import Table

_MAX_GROWTH_BYTES = 32 * 2**20
_MAX_MORE_DESCRIPTORS = 8
_MAX_SCRAPE_SECONDS = 5.0
"""Half of Prometheus's default time-out."""

_EXIT_SECONDS = 5.0
"""How much longer than its shutdown time-out the gateway may take to exit."""

_CLIENT_CLOSED_REQUEST = 499
_EXIT_STATUSES = (0, -signal.SIGTERM)
_MAX_EXAMPLES = 3


@dataclass(frozen=True)
class Check:
    """A requirement, whether it holds, and the figures."""

    name: str
    holds: bool
    details: str


def verdict(evidence: Evidence) -> list[Check]:
    """All checks, in the order of the table."""
    return [Check(name, *check(evidence)) for name, check in _CHECKS]


def verdict_table(evidence: Evidence, checks: Sequence[Check]) -> str:
    """The checks as a Markdown table, and how requests ended."""
    rows = [(check.name, "yes" if check.holds else "NO", check.details) for check in checks]
    table = Table(("requirement", "holds", "observed"), rows).markdown()
    kinds = Counter(record.error or record.ended for record in evidence.records)
    counts = ", ".join(f"{kind} x {count}" for kind, count in kinds.most_common())
    return f"{table}\n\n{len(evidence.records)} requests: {counts}"


def _faults_occurred(evidence: Evidence) -> tuple[bool, str]:
    """Without its faults, a run proves nothing."""
    ended = Counter(record.ended for record in evidence.records)
    latencies = [record.latency for record in evidence.records if record.client == "normal"]
    slowest = max(latencies, default=0.0)
    faults = {
        "malformed requests refused": ended["refused"],
        "clients disconnected": ended["disconnected"],
        "clients closed at [DONE]": sum(
            record.client == "closing" and record.ended == "answer" for record in evidence.records
        ),
        "requests failed while the engine was down": sum(
            (record.status or 0) >= 502 for record in evidence.records
        ),
        "ledger failures": evidence.ledger_failures,
        "streams open at SIGTERM": evidence.shutdown.open_streams,
    }
    counts = ", ".join(f"{count} {fault}" for fault, count in faults.items())
    stalled = slowest >= evidence.stall_seconds
    return stalled and all(faults.values()), f"{counts}; slowest request {slowest:.1f} s"


def _closed_once(evidence: Evidence) -> tuple[bool, str]:
    """Every request that received a status was closed exactly once."""
    lines = Counter(closed.request_id for closed in evidence.closed)
    accepted = [record for record in evidence.records if record.status is not None]
    unclosed = [record.request_id for record in accepted if record.request_id not in lines]
    repeated = [request_id for request_id, count in lines.items() if count > 1]
    ended = Counter(record.ended for record in accepted)
    counts = ", ".join(f"{count} {kind}" for kind, count in sorted(ended.items()))
    failures = _examples("never closed", unclosed) + _examples("closed twice", repeated)
    return not failures, f"{len(accepted)} accepted: {counts}{failures}"


def _no_timeout(evidence: Evidence) -> tuple[bool, str]:
    hung = [record.request_id for record in evidence.records if record.error == "timeout"]
    return not hung, f"{len(hung)} timed out" + _examples("", hung)


def _same_status(evidence: Evidence) -> tuple[bool, str]:
    """Clients and gateway recorded compatible ends of each request."""
    status = {closed.request_id: closed.status for closed in evidence.closed}
    different = [
        f"{record.request_id} ({record.error or record.ended}, {status[record.request_id]})"
        for record in evidence.records
        if record.request_id in status and not _compatible(record, status[record.request_id])
    ]
    return not different, f"{len(different)} recorded differently" + _examples("", different)


def _compatible(record: Record, status: int) -> bool:
    if record.ended == "answer":
        return status == 200
    if record.ended == "disconnected":  # the request may have ended, or failed, before
        return status == 200 or status >= _CLIENT_CLOSED_REQUEST
    if record.status is None or record.status == 200:  # cut off, or an error event
        return status >= _CLIENT_CLOSED_REQUEST
    return status == record.status


def _idle(evidence: Evidence) -> tuple[bool, str]:
    in_flight = evidence.metrics["tops_in_flight"]
    details = f"tops_in_flight {in_flight:g}, {evidence.engine_running} running on the engine"
    return in_flight == evidence.engine_running == 0, details


def _memory(evidence: Evidence) -> tuple[bool, str]:
    before = evidence.usage_before.resident_bytes
    growth = evidence.usage_at_rest.resident_bytes - before
    details = f"{before / 2**20:.0f} MiB before, {growth / 2**20:+.1f} MiB after"
    return growth <= _MAX_GROWTH_BYTES, details


def _descriptors(evidence: Evidence) -> tuple[bool, str]:
    before, after = evidence.usage_before.descriptors, evidence.usage_at_rest.descriptors
    return after <= before + _MAX_MORE_DESCRIPTORS, f"{before} before, {after} after"


def _tokens(evidence: Evidence) -> tuple[bool, str]:
    """The gateway answered what the engine completed, with the engine's token counts."""
    answered = {closed.request_id: closed for closed in evidence.closed if closed.status == 200}
    status = {closed.request_id: closed.status for closed in evidence.closed}
    different = [
        request_id
        for request_id, closed in answered.items()
        if (sent := evidence.engine_completing.get(request_id)) is None
        or (sent.thinking, sent.answer) != (closed.thinking, closed.answer)
    ]
    dropped = [
        request_id
        for request_id in evidence.engine_completed.keys() & status.keys()
        if status[request_id] not in (200, _CLIENT_CLOSED_REQUEST)
    ]
    thinking = sum(closed.thinking or 0 for closed in answered.values())
    details = f"{len(answered)} answers, {thinking} thinking tokens on both sides"
    failures = _examples("differ", different) + _examples("dropped", dropped)
    return not failures, details + failures


def _metrics(evidence: Evidence) -> tuple[bool, str]:
    """The counters are the sums of the log."""
    closed = evidence.closed[: evidence.closed_at_rest]
    answered = [request for request in closed if request.status == 200]
    expected = {
        "tops_requests_total": len(closed),
        "tops_thinking_tokens_total": sum(request.thinking or 0 for request in answered),
        "tops_answer_tokens_total": sum(request.answer or 0 for request in answered),
    }
    counters = {name: evidence.metrics.get(name, 0.0) for name in expected}
    details = ", ".join(
        f"{name} {counters[name]:.0f}" + ("" if counters[name] == count else f", log {count}")
        for name, count in expected.items()
    )
    return counters == expected, details


def _ledger(evidence: Evidence) -> tuple[bool, str]:
    """Every request with a decision has a row, with the counts of the log."""
    decided = {closed.request_id: closed for closed in evidence.closed if closed.decided}
    ledger = evidence.ledger.keys() - evidence.second.rows.keys()
    different = [
        request_id
        for request_id in decided.keys() | ledger
        if decided.get(request_id) != evidence.ledger.get(request_id)
    ]
    lost = evidence.metrics.get("tops_ledger_lost_total", 0.0)
    details = f"{len(ledger)} rows for {len(decided)} decided requests, {lost:g} lost"
    return not (different or lost), details + _examples("differ", different)


def _scrapes(evidence: Evidence) -> tuple[bool, str]:
    seconds = [scrape for scrape in evidence.scrapes if scrape is not None]
    failed = len(evidence.scrapes) - len(seconds)
    slowest = max(seconds, default=0.0)
    details = f"{len(seconds)} scrapes, {failed} failed, slowest {1000 * slowest:.0f} ms"
    return bool(seconds) and not failed and slowest <= _MAX_SCRAPE_SECONDS, details


def _exited(evidence: Evidence) -> tuple[bool, str]:
    shutdown = evidence.shutdown
    details = (
        f"exit status {shutdown.status} after {shutdown.seconds:.1f} s, "
        f"shutdown timeout {shutdown.timeout_seconds:g} s"
    )
    in_time = shutdown.seconds <= shutdown.timeout_seconds + _EXIT_SECONDS
    return shutdown.status in _EXIT_STATUSES and in_time, details


def _second_gateway(evidence: Evidence) -> tuple[bool, str]:
    """Neither a full log nor connections that end early cost a request or a row."""
    second = evidence.second
    failed = [record.request_id for record in second.records if record.ended != "answer"]
    closed = [request_id for request_id, row in second.rows.items() if row.status == 200]
    details = (
        f"{len(second.records)} requests, {len(closed)} rows, {second.lines_lost:.0f} log lines "
        f"lost and counted" + _examples("failed", failed)
    )
    complete = not failed and len(closed) == len(second.rows) > len(second.records)
    counted = second.lines_lost >= len(second.records)
    return complete and counted and second.shared_conversations == 1, details


def _no_log_errors(evidence: Evidence) -> tuple[bool, str]:
    details = f"{len(evidence.log_errors)} errors in its log"
    return not evidence.log_errors, details + _examples(
        "", [line[:300] for line in evidence.log_errors]
    )


def _examples(problem: str, names: Sequence[str]) -> str:
    if not names:
        return ""
    return f"; {len(names)} {problem}: {', '.join(names[:_MAX_EXAMPLES])}".replace(" :", ":")


_CHECKS: Sequence[tuple[str, Callable[[Evidence], tuple[bool, str]]]] = (
    ("the faults occurred", _faults_occurred),
    ("every accepted request was closed once", _closed_once),
    ("no request hung", _no_timeout),
    ("clients and gateway agree on how requests ended", _same_status),
    ("gauges returned to zero", _idle),
    ("memory returned", _memory),
    ("file descriptors returned", _descriptors),
    ("token counts match the engine", _tokens),
    ("metrics match the log", _metrics),
    ("the ledger is complete", _ledger),
    ("every scrape of /metrics was answered", _scrapes),
    ("a second gateway on the ledger lost nothing", _second_gateway),
    ("the gateway exited after SIGTERM", _exited),
    ("the gateway logged no unexpected error", _no_log_errors),
)
