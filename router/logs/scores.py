"""Which of a log's scores counts as solved."""

import math
from collections.abc import Iterable, Sequence

from router.logs.row import OutcomeError


class Scores:
    """Chooses by name among the scores of one log; a log with one score needs no name."""

    def __init__(self, path: str, names: Sequence[str]) -> None:
        self._path, self._names = path, names
        self._seen: dict[str, None] = {}
        self._metrics: dict[str, None] = {}

    def chosen(self, scores: Iterable[str]) -> str | None:
        """The name of the score that counts among those of a sample; None if it has no such score.

        A metric chooses METRIC,FILTER if there is one filter. Raises OutcomeError: several scores
        to choose from.
        """
        names = list(scores)
        self._seen.update(dict.fromkeys(names))
        if not self._names:
            if len(self._seen) > 1:
                raise self._ambiguous(self._seen)
            return names[0] if names else None
        exact = [name for name in self._names if name in names]
        if exact:
            self._metrics[exact[0]] = None
            return exact[0]
        behind = [name for name in names if name.partition(",")[0] in self._names]
        self._metrics.update(dict.fromkeys(behind))
        if len(self._metrics) > 1:
            raise self._ambiguous(self._metrics)
        return behind[0] if behind else None

    def close(self) -> None:
        """Raise OutcomeError where the log had scores, but none of the requested names."""
        if self._names and self._seen and not self._metrics:
            raise OutcomeError(
                f"{self._path}: no score is named {' or '.join(self._names)}; "
                f"--score takes {_listed(self._seen)}"
            )

    def _ambiguous(self, names: Iterable[str]) -> OutcomeError:
        return OutcomeError(
            f"{self._path}: several scores: choose one with --score: {_listed(names)}"
        )

    def number(self, value: object) -> float | None:
        """A score as a number from 0 to 1; None where it is missing. Raises OutcomeError."""
        try:
            number = None if value is None else float(value)  # pyright: ignore[reportArgumentType]
        except (TypeError, ValueError):
            number = math.inf
        if number is None or math.isnan(number):
            return None
        if not 0 <= number <= 1:
            raise OutcomeError(
                f"{self._path}: the score {str(value)[:40]!r} is neither C, I, P, N, true or false "
                "nor a number from 0 to 1"
                + ("" if len(self._seen) < 2 else f": --score takes {_listed(self._seen)}")
            )
        return number


def _listed(names: Iterable[str]) -> str:
    return " | ".join(sorted(names))
