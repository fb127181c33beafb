"""What a report is computed from: totals of all requests, and the held out ones by themselves."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from server.ledger.reader import Columns, held_out, treated_examples
from server.ledger.selection import Selection
from server.ledger.tables import DIMENSIONS
from server.ledger.totals import DAY_SECONDS, Totals, read_totals
from server.savings.prices import Prices
from server.savings.sample import Array, Population, Sample

GROUPS = ("effort", "model", "key", "kind", "day")

_EXAMPLES = 60_000
"""Treated requests that are read one by one, where few conversations are held out."""

_ENOUGH_CONVERSATIONS = 400
"""Examples of a group with fewer conversations are replaced by those of all requests."""


@dataclass(frozen=True)
class Measure:
    """An outcome: the sum of columns, in money where there are prices, and its prediction."""

    columns: Sequence[str]
    prices: Prices | None = None
    predicted: str = "baseline_tokens"

    def of(self, rows: Columns) -> Array:
        """The outcomes of requests, or their sums by group (N,); absent counts are 0 in money."""
        if self.prices is None:
            return np.add.reduce([rows[name] for name in self.columns])
        models = rows["model"]
        parts = [
            np.nan_to_num(rows[name]) * self.prices.rate(name, models) for name in self.columns
        ]
        return np.add.reduce([np.zeros(len(models)), *parts])

    def factor(self, rows: Columns) -> Array:
        """What predicted thinking tokens are multiplied by, to predict the outcome (N,)."""
        if self.prices is None:
            return np.ones(len(rows["model"]))
        return self.prices.rate("thinking_tokens", rows["model"])


class Evidence:
    """Totals of all requests of a selection, its held out ones, and examples of treated ones.

    Args:
        totals: of all requests.
        held_out: compared ones; see `server.ledger.reader.held_out`.
        examples: see `server.ledger.reader.treated_examples`; None: Student's quantiles are taken.
        one_in: so many of the held out requests are given.
    """

    def __init__(
        self, totals: Totals, held_out: Columns, examples: Columns | None, one_in: int = 1
    ) -> None:
        self.totals = totals
        self._compared = totals.compared()
        self._held_out, self._examples = held_out, examples
        self._one_in = one_in
        self._held_groups = _group_names(held_out, held_out["routed"], held_out["at"])
        sums = self._compared.columns
        self._groups = _group_names(sums, sums["routed"], sums["slot"])
        if examples is not None:
            self._example_groups = _group_names(examples, examples["routed"], examples["at"])

    @property
    def requests(self) -> int:
        """How many requests are compared."""
        return round(float(self._compared.columns["requests"].sum()))

    def names(self, group: str) -> list[str]:
        """The groups of a kind in GROUPS that have compared requests."""
        return sorted({*self._groups[group].tolist()})

    def population(self, measure: Measure, group: str = "", name: str = "") -> Population:
        """Of the requests of one group, or of all."""
        mask, held_rows, shown = self._masks(group, name)
        sums = {key: column[mask] for key, column in self._compared.columns.items()}
        treated = sums["arm"] == "treated"
        score = measure.predicted != "baseline_tokens"
        number, known, total, *weights = (
            ("scored", "score_predicted", "score_expected", "score_weight", "score_weight_p",
             "score_weight_squares", "score_weight_unknown")
            if score
            else ("requests", "predicted", "predicted_tokens", "weight", "weight_tokens",
                  "weight_squares", "weight_unknown")
        )  # fmt: skip
        factor = measure.factor(sums)
        weight, predicted, squares, unknown = (sums[name] for name in weights)
        return Population(
            requests=float(sums[number][treated].sum()),
            consumed=float(measure.of(sums)[treated].sum()),
            known=float(sums[known][treated].sum()),
            known_sum=float((factor * sums[total])[treated].sum()),
            weight=float(weight.sum()),
            weight_predicted=float((factor * predicted).sum()),
            weight_squares=float((factor**2 * squares).sum()),
            weight_unknown=float(unknown.sum()),
            held_out=self._sample(self._held_out, held_rows, measure, self._one_in),
            examples=None
            if self._examples is None or score
            else self._sample(self._examples, shown, measure, 1),
        )

    def _masks(self, group: str, name: str) -> tuple[NDArray[np.bool_], ...]:
        """Which totals, held out requests and examples are of a group."""
        shown = np.zeros(0, bool)
        if self._examples is not None:
            shown = np.ones(len(self._examples["at"]), bool)
        if not group:
            everything = np.ones(len(self._compared.columns["slot"]), bool)
            return everything, np.ones(len(self._held_out["at"]), bool), shown
        if self._examples is not None:
            own = self._example_groups[group] == name
            if len(set(self._examples["conversation"][own].tolist())) >= _ENOUGH_CONVERSATIONS:
                shown = own
        return self._groups[group] == name, self._held_groups[group] == name, shown

    def _sample(
        self, rows: Columns, mask: NDArray[np.bool_], measure: Measure, one_in: int
    ) -> Sample:
        outcomes = measure.of(rows)[mask]
        if measure.predicted != "baseline_tokens":
            mask = mask.copy()
            mask[mask] = np.isfinite(outcomes)
            outcomes = outcomes[np.isfinite(outcomes)]
        return Sample(
            rows["arm"][mask] == "treated",
            _numbers(rows["conversation"][mask]),
            rows["p_treated"][mask],
            rows["p_holdout"][mask] / one_in,
            outcomes,
            (measure.factor(rows) * rows[measure.predicted])[mask],
        )


def gather(connection: Connection, selection: Selection) -> Evidence:
    """Read the evidence of a selection; of a connection's snapshot."""
    totals = read_totals(connection, selection)
    rows = held_out(connection, selection)
    shown = treated_examples(connection, selection, _EXAMPLES) if len(rows["at"]) else None
    return Evidence(totals, rows, shown)


def gather_quickly(
    connection: Connection, selection: Selection, dimensions: Sequence[str], limit: int
) -> Evidence:
    """The evidence without slots of time.

    Args:
        connection: of a snapshot.
        selection: which requests count.
        dimensions: of the totals; those of GROUPS that are to be reported.
        limit: if there are more held out requests, about so many of them are read.
    """
    needed = {"arm", "status", "compared", *dimensions}
    dimensions_read = [name for name in DIMENSIONS if name in needed]
    totals = read_totals(connection, selection, None, dimensions_read)
    sums = totals.compared().columns
    number = float(sums["requests"][sums["arm"] == "holdout"].sum())
    one_in = max(1, -int(-number // limit))
    rows = held_out(connection, selection, one_in)
    shown = treated_examples(connection, selection, limit, 10) if len(rows["at"]) else None
    return Evidence(totals, rows, shown, one_in)


def _group_names(rows: Columns, effort: NDArray[Any], at: Array) -> dict[str, NDArray[Any]]:
    days = (at // DAY_SECONDS).astype("datetime64[D]")
    return {
        "effort": _named(effort),
        "model": rows["model"],
        "key": rows["key"],
        "kind": _named(rows["kind"]),
        "day": np.datetime_as_string(days).astype(object) if len(days) else days.astype(object),
    }


def _named(names: NDArray[Any]) -> NDArray[Any]:
    """The names (N,), with `unknown` for requests without one and for rows of older versions."""
    return np.array([name or "unknown" for name in names.tolist()], dtype=object)


def _numbers(conversations: NDArray[Any]) -> NDArray[np.intp]:
    index = {name: number for number, name in enumerate(dict.fromkeys(conversations.tolist()))}
    return np.array([index[name] for name in conversations.tolist()], dtype=np.intp)
