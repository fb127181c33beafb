"""Figures of conversations, computed by the database: it returns sums, and some conversations.

Whole conversations are read only of those that were held out, and of a bounded sample.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    ColumnElement,
    Connection,
    Float,
    Subquery,
    and_,
    case,
    func,
    literal,
    literal_column,
    select,
)

from server.ledger.selection import Selection
from server.ledger.tables import conversation_scores, requests

Rates = Mapping[str, float]

Restriction = Callable[[ColumnElement[Any]], ColumnElement[bool]]
"""A condition on the id of a conversation."""

_ZERO: ColumnElement[Any] = literal(0.0)

MEASURES = ("turns", "thinking_tokens", "all_tokens", "seconds", "money")
_ALL_TOKENS = ("prompt_tokens", "thinking_tokens", "answer_tokens", "unsplit_tokens")
_HEXADECIMAL_DIGITS = 4
_FIRST_SAMPLED = 29
"""The last digits of a conversation's id are random in any case."""


@dataclass(frozen=True)
class ConversationMoments:
    """Sums over conversations of one arm, with feedback or without.

    `sums` and `squares` are of each of MEASURES, `products` of each times the score. `weight` is
    the sum of p_treated**2 / p_holdout + p_treated.
    """

    arm: str
    is_compared: bool
    is_scored: bool
    number: int
    score: float
    score_squares: float
    weight: float
    sums: NDArray[np.float64]
    squares: NDArray[np.float64]
    products: NDArray[np.float64]


@dataclass(frozen=True)
class ConversationSample:
    """Conversations one by one: MEASURES (N, 5), scores (nan without), probabilities (N,)."""

    measures: NDArray[np.float64]
    score: NDArray[np.float64]
    p_treated: NDArray[np.float64]
    p_holdout: NDArray[np.float64]


class ConversationFigures:
    """Conversations of a selection, each with all its requests of the selection.

    Those count that began at `since` or later.

    Args:
        connection: of a snapshot.
        selection: which requests count.
        rates: money per token by model and column.
        others: of all other models.
    """

    def __init__(
        self,
        connection: Connection,
        selection: Selection,
        rates: Mapping[str, Rates],
        others: Rates | None,
    ) -> None:
        self._connection = connection
        self._selection = selection
        self._rates, self._others = rates, others

    def moments(self) -> Sequence[ConversationMoments]:
        """The sums, by arm ('' where the client chose; `mixed`), comparability and feedback."""
        columns = self._conversations().c
        keys = [columns.arm, columns.is_compared, columns.is_scored]
        score, weight = columns.score, _weight(columns.p_treated, columns.p_holdout)
        values = [columns[name] for name in MEASURES]
        sums: list[ColumnElement[Any]] = [
            func.count(),
            func.sum(score),
            func.sum(score * score),
            func.sum(weight),
            *(func.sum(value) for value in values),
            *(func.sum(value * value) for value in values),
            *(func.sum(value * score) for value in values),
        ]
        query = select(*keys, *sums).group_by(*keys)
        moments: list[ConversationMoments] = []
        for row in self._connection.execute(query):
            values_of_row: list[Any] = [*row]
            arm, is_compared, is_scored, number = values_of_row[:4]
            flags = bool(is_compared), bool(is_scored)
            score_sum, score_squares, total_weight = (float(v or 0.0) for v in values_of_row[4:7])
            parts = np.array([value or 0.0 for value in values_of_row[7:]], dtype=float)
            sums_of, squares, products = parts.reshape(3, len(MEASURES))
            totals = score_sum, score_squares, total_weight
            moments.append(
                ConversationMoments(arm, *flags, number, *totals, sums_of, squares, products)
            )
        return moments

    def held_out(self) -> ConversationSample:
        """All conversations that were held out, while there was a holdout."""
        columns = requests.c
        drawn = select(columns.conversation).where(columns.arm == "holdout", columns.p_holdout > 0)
        return self._sample("holdout", lambda column: column.in_(drawn))

    def treated(self, most: int, number: int, scored_only: bool = False) -> ConversationSample:
        """About `most` of the `number` treated conversations, or all; drawn by their ids."""
        limit = max(int(16**_HEXADECIMAL_DIGITS * most / max(number, 1)), 1)
        limit_digits = f"{limit:0{_HEXADECIMAL_DIGITS}x}"

        def is_drawn(column: ColumnElement[Any]) -> ColumnElement[bool]:
            of = conversation_scores if scored_only else requests
            drawn = select(of.c.conversation)
            if number > most:
                drawn = drawn.where(func.substr(of.c.conversation, _FIRST_SAMPLED) < limit_digits)
            return column.in_(drawn)

        is_limited = scored_only or number > most
        return self._sample("treated", is_drawn if is_limited else None)

    def _sample(self, arm: str, restriction: Restriction | None) -> ConversationSample:
        columns = self._conversations(restriction).c
        names = (*MEASURES, "score", "p_treated", "p_holdout")
        query = select(*(columns[name] for name in names))
        where = columns.is_compared == 1, columns.arm == arm
        rows = self._connection.execute(query.where(*where)).all()
        table = np.array([tuple(row) for row in rows], dtype=float).reshape(-1, len(names))
        width = len(MEASURES)
        return ConversationSample(table[:, :width], *table[:, width:].T)

    def _conversations(self, restriction: Restriction | None = None) -> Subquery:
        """One row per conversation, of all or of those that a restriction has."""
        columns = requests.c
        where = [columns.conversation.is_not(None), *self._selection.of(requests)]
        conversation: ColumnElement[Any] = columns.conversation
        if restriction is None:  # not in the order of the index, which has rows of all times
            conversation = conversation.concat("")
        else:
            where.append(restriction(conversation))
        parts = select(*_request_columns(conversation)).where(*where).subquery()
        return _grouped(parts, self._selection, _money(parts.c, self._rates, self._others))


def _weight(p: ColumnElement[Any], q: ColumnElement[Any]) -> ColumnElement[Any]:
    return p * p / func.nullif(q, 0) + p


def _grouped(subquery: Subquery, selection: Selection, money: ColumnElement[Any]) -> Subquery:
    """One row per conversation, with its score."""
    parts = subquery.c
    total = {name: func.sum(parts[name]) for name in _SUMS}
    low, high = func.min(func.nullif(parts.arm, "")), func.max(func.nullif(parts.arm, ""))
    p, q = func.max(parts.p_treated), func.max(parts.p_holdout)
    arm = case((low.is_(None), ""), (low != high, "mixed"), else_=low)
    rows = (
        select(
            parts.conversation,
            arm.label("arm"),
            p.label("p_treated"),
            q.label("p_holdout"),
            total["requests"].label("turns"),
            total["thinking_tokens"].label("thinking_tokens"),
            sum((total[name] for name in _ALL_TOKENS), literal(0.0)).label("all_tokens"),
            total["seconds"].label("seconds"),
            func.sum(money).label("money"),
        )
        .group_by(parts.conversation)
        .having(total["requests"] > 0)
    )
    if selection.since is not None:
        rows = rows.having(func.min(parts.began) >= selection.since)
    rows_by_conversation, scores = rows.subquery(), conversation_scores.c
    score = scores.score
    is_drawn = and_(
        rows_by_conversation.c.arm.in_(("treated", "holdout")), rows_by_conversation.c.p_holdout > 0
    )
    return (
        select(
            *rows_by_conversation.c,
            score,
            case((is_drawn, 1), else_=0).label("is_compared"),
            case((score.is_not(None), 1), else_=0).label("is_scored"),
        )
        .select_from(
            rows_by_conversation.outerjoin(
                conversation_scores, scores.conversation == rows_by_conversation.c.conversation
            )
        )
        .subquery()
    )


def _money(parts: Any, rates: Mapping[str, Rates], others: Rates | None) -> ColumnElement[Any]:
    """What the requests of a part cost."""

    def cost(own: Rates) -> ColumnElement[Any]:
        terms: list[ColumnElement[Any]] = [
            parts[name] * price for name, price in own.items() if price
        ]
        return sum(terms, _ZERO)

    rest = _ZERO if others is None else cost(others)
    whens: list[tuple[ColumnElement[bool], ColumnElement[Any]]] = [
        (parts.model == model, cost(own)) for model, own in rates.items()
    ]
    return case(*whens, else_=rest) if whens else rest


_SUMS = ("requests", "prompt_tokens", "cached_tokens", "cache_write_tokens", "thinking_tokens",
    "answer_tokens", "unsplit_tokens", "seconds",)  # fmt: skip


def _request_columns(conversation: ColumnElement[Any]) -> list[ColumnElement[Any]]:
    """Of one request: its conversation, model, time, arm with probabilities, and counts."""
    columns = requests.c
    refused = and_(columns.status >= 400, columns.status < 499)
    none, unit = literal_column("0.0", Float), literal_column("1.0", Float)
    values: dict[str, ColumnElement[Any]] = {
        name: func.coalesce(columns[name], 0) for name in _SUMS[1:]
    }
    values |= {
        "conversation": conversation,
        "model": columns.model,
        "began": columns.at,
        "arm": func.coalesce(columns.arm, ""),
        "p_treated": columns.p_treated,
        "p_holdout": columns.p_holdout,
        "requests": case((refused, none), else_=unit),
    }
    return [column.label(name) for name, column in values.items()]
