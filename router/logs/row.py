"""Rows of outcomes as the readers of this room yield them, and what they leave out.

A row has the fields of the outcome format (docs/reference/outcome-format.md), not yet checked, or
those of an evaluation log: `score` (0 to 1) instead of `correct`; `generation`, which names the
generation, instead of `sample`; `question`, which tells apart problems of equal id; `task`, which
groups them.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

Row = Mapping[str, object]
Rows = Iterator[tuple[str, Row]]
"""Each row with its location, such as FILE:LINE, for messages."""


class OutcomeError(Exception):
    """The outcomes cannot be used; the message names the file, the line and the reason."""


@dataclass
class Skipped:
    """What reading left out: messages of broken rows, and the number of other rows by reason.

    `notes`: the number of rows by a remark about rows that are used.
    """

    broken: list[str] = field(default_factory=list[str])
    reasons: Counter[str] = field(default_factory=Counter[str])
    notes: Counter[str] = field(default_factory=Counter[str])
