"""Which requests of the ledger count."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import ColumnElement, Table

from server.ledger.tables import requests

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True)
class Selection:
    """A filter: rows at or after `since` (Unix seconds), of one model, API key and kind."""

    since: float | None = None
    model: str | None = None
    key: str | None = None
    kind: str | None = None

    def where(self) -> list[ColumnElement[bool]]:
        """The filter of `requests` as SQL conditions."""
        since = [] if self.since is None else [requests.c.at >= self.since]
        return [*since, *self.of(requests)]

    def of(self, table: Table) -> list[ColumnElement[bool]]:
        """The filter as SQL conditions on a table of requests or of their sums, without a time."""
        names = {"model": self.model, "key": self.key, "kind": self.kind}
        return [table.c[name] == value for name, value in names.items() if value is not None]


def parse_moment(text: str | None, option: str) -> float | None:
    """Unix seconds of a date or of an age such as 7d; None for None.

    Raises:
        ValueError: the text is neither.
    """
    if text is None:
        return None
    try:
        if text[-1:] in _UNITS and text[:-1].isdigit():
            age = timedelta(**{_UNITS[text[-1]]: int(text[:-1])})
            return (datetime.now(UTC) - age).timestamp()
        date = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise ValueError(f"{option} takes 7d, 12h, 30m or a date, not {text!r}") from None
    return date.replace(tzinfo=date.tzinfo or UTC).timestamp()
