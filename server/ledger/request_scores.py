"""Scores of requests in the ledger: which request is meant, and how it is stored."""

import time

from sqlalchemy import Connection, select, update

from server.ledger.reader import Row
from server.ledger.summaries import add_again, hold, subtract
from server.ledger.tables import requests


def newest_request(connection: Connection, request_id: str, key: str) -> Row | None:
    """The newest request of an id and an API key."""
    own = requests.c.request_id == request_id, requests.c.key == key
    query = select(requests).where(*own).order_by(requests.c.id.desc()).limit(1)
    row = connection.execute(query).mappings().first()
    return None if row is None else {str(name): value for name, value in row.items()}


def store_request_score(connection: Connection, row: Row, score: float) -> None:
    """Store a score from 0 to 1 in the place of an earlier one, in the summaries too."""
    own = requests.c.id == row["id"]
    values = {"score": score, "scored_at": time.time()}
    upto = hold(connection)
    subtract(connection, upto, own)
    connection.execute(update(requests).where(own).values(values))
    add_again(connection, upto, own)
