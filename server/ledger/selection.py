"""Which requests of the ledger count."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Table

from server.ledger.tables import requests


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
