"""The evidence of a chaos run: the same requests as clients, gateway and engine recorded them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loadtest.chaos.closed_request import ClosedRequest
from loadtest.process_usage import ProcessUsage
from loadtest.record import Record


@dataclass(frozen=True)
class Shutdown:
    """The gateway's shutdown after SIGTERM.

    Attributes:
        status: the exit status; None where the process did not exit.
        seconds: from SIGTERM to the exit.
        timeout_seconds: the gateway's setting, after which it cancels open requests.
        open_streams: streams that were open at SIGTERM.
    """

    status: int | None
    seconds: float
    timeout_seconds: float
    open_streams: int


@dataclass(frozen=True)
class SecondGateway:
    """A second gateway on the same ledger: its log is full, and its descriptors run out.

    Its engine closes every connection after one answer, and its clients theirs at `[DONE]`.

    Attributes:
        records: the clients' records, before and after the time without descriptors.
        rows: the ledger's rows of its requests, by request id.
        lines_lost: the log lines that it counted as lost.
        shared_conversations: distinct hashes under which both gateways know one conversation.
    """

    records: Sequence[Record]
    rows: Mapping[str, ClosedRequest]
    lines_lost: float
    shared_conversations: int


@dataclass(frozen=True)
class Evidence:
    """Everything that a run recorded.

    Attributes:
        records: the clients' records of all requests after the capacity measurement.
        closed: the gateway's log, one line per request of the whole run.
        engine_completing: the answers whose last bytes the engine was about to send, by id.
        engine_completed: those of them that were sent before the engine was killed.
        ledger: the ledger's rows by request id.
        closed_at_rest: lines of `closed` when the gateway was idle before SIGTERM.
        metrics: the gateway's metrics at that time, summed over labels.
        engine_running: requests that the engine was processing at that time.
        usage_before: the gateway's resources after the capacity measurement.
        usage_at_rest: the gateway's resources when it was idle before SIGTERM.
        scrapes: seconds of each scrape of /metrics; None for a failed one.
        stall_seconds: how long the engine was frozen.
        ledger_failures: how often the ledger could not be written.
        second: the second gateway.
        log_errors: unexpected errors of the gateway's log.
    """

    records: Sequence[Record]
    closed: Sequence[ClosedRequest]
    engine_completing: Mapping[str, ClosedRequest]
    engine_completed: Mapping[str, ClosedRequest]
    ledger: Mapping[str, ClosedRequest]
    closed_at_rest: int
    metrics: Mapping[str, float]
    engine_running: int
    usage_before: ProcessUsage
    usage_at_rest: ProcessUsage
    scrapes: Sequence[float | None]
    stall_seconds: float
    ledger_failures: int
    second: SecondGateway
    shutdown: Shutdown
    log_errors: Sequence[str]
