"""Composite efforts: an attempt at one effort with a budget and, where it hits that, another.

Both attempts are paid: a composite takes the tokens of the first one, at most its budget, and those
of the second one where there is one. The answer is that of the last attempt.
"""

import re
from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal["stop", "cap"]
"""`stop`: cheap, then dear where it hits the budget; `cap`: dear, then cheap where it hits that."""

_NAME = re.compile(r"(stop|cap):(.+)@(\d{1,9}):(.+)")


@dataclass(frozen=True, slots=True)
class Composite:
    """Two attempts; `budget` bounds the `initial` one, in thinking tokens.

    Raises ValueError for a budget below 1, equal efforts and unknown kinds.
    """

    kind: Kind
    initial: str
    budget: int
    final: str

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind) or self.budget < 1 or self.initial == self.final:
            raise ValueError(f"{self.name} is no composite effort")

    @property
    def name(self) -> str:
        """The name, as of an effort: `stop:low@256:high`."""
        return f"{self.kind}:{self.initial}@{self.budget}:{self.final}"

    @property
    def dear(self) -> str:
        """The effort of the two that takes the more tokens."""
        return self.final if self.kind == "stop" else self.initial

    @property
    def efforts(self) -> tuple[str, str]:
        """Both efforts, in the order of their attempts."""
        return self.initial, self.final


def parse_composite(name: str) -> Composite:
    """The composite of a name. Raises ValueError: the name is not that of a composite."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"{name!r} is no composite effort")
    kind: Kind = "stop" if match[1] == "stop" else "cap"
    return Composite(kind, match[2], int(match[3]), match[4])
