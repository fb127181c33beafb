"""What a chaos run leaves behind: what clients, gateway and engine say of the same requests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loadtest.chaos.stand import Closed
from loadtest.record import Record


@dataclass(frozen=True)
class Taken:
    """What a process takes: bytes of memory, and open descriptors."""

    resident: int
    descriptors: int


@dataclass(frozen=True)
class Ending:
    """How the gateway ended after SIGTERM: its exit status (None: it did not), after how long."""

    status: int | None
    seconds: float
    drain_seconds: float
    open_streams: int


@dataclass(frozen=True)
class Evidence:
    """Everything of one run.

    Attributes:
        records: the clients' side of every request after the capacity was measured.
        closed: the gateway's log, a line a request, of the whole run.
        whole: what the engine answered to the end, by the request's id.
        ledger: its rows, by the request's id.
        at_rest: how many lines of the log there were once everything before SIGTERM had ended, and
        metrics: the gateway's metrics then, summed over labels, and
        engine_running: how many requests the engine had then.
        before, after: what the gateway took after the capacity was measured, and at rest.
        scrapes: seconds that each scrape of /metrics took; None for one that failed.
        stalled, ledger_refused: that those faults bit.
        oddities: errors in the gateway's log.
    """

    records: Sequence[Record]
    closed: Sequence[Closed]
    whole: Mapping[str, Closed]
    ledger: Mapping[str, Closed]
    at_rest: int
    metrics: Mapping[str, float]
    engine_running: int
    before: Taken
    after: Taken
    scrapes: Sequence[float | None]
    stall_seconds: float
    ledger_refused: int
    ending: Ending
    oddities: Sequence[str]
