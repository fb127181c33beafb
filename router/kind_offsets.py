"""What is known of the kinds of traffic beside their prompts: offsets of a fit's estimates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from router.arrays import Array, Mask


def _none() -> dict[str | None, Array]:
    return {}


@dataclass(frozen=True)
class KindOffsets:
    """What each kind that a fit knows adds to the logits, then to the log tokens, of E efforts.

    `by_kind`: (2E,) of each kind; empty where no row of the fit had one. None is the kind of rows
    without one. `guard`: how much more P(correct) another effort than the baseline needs on a
    prompt of an unknown kind.
    """

    by_kind: Mapping[str | None, Array] = field(default_factory=_none)
    guard: float = 0.0

    def find(self, kind: str | None) -> Array | None:
        """The offsets (2E,) of a kind, else of rows without one; None where it is unknown."""
        offsets = self.by_kind.get(kind)
        return self.by_kind.get(None) if offsets is None else offsets

    def unknown(self, kind: str | None) -> bool:
        """Whether the fit has kinds, and this is none of them."""
        return bool(self.by_kind) and self.find(kind) is None

    def explain(self, kind: str | None) -> str:
        """What the kind of a prompt adds to the reason of its effort; "" without any kinds."""
        if not self.by_kind:
            return ""
        if kind in self.by_kind:
            return ". It is of no kind" if kind is None else f". It is of the kind {kind}"
        return ". It is of no kind" if None in self.by_kind else ". It is of an unknown kind"

    def guards(self, kinds: Sequence[str | None]) -> Array:
        """The guard (N,) of N prompts, 0 where the kind is known."""
        return np.array([self.guard * self.unknown(kind) for kind in kinds], dtype=np.float64)

    def rows(self, kinds: Sequence[str | None], efforts: int) -> tuple[Array, Mask]:
        """The offsets (N, 2E) of N prompts, 0 where unknown, and whether they are unknown (N,)."""
        nothing = np.zeros(2 * efforts)
        offsets = [self.find(kind) for kind in kinds]
        unknown = np.array([bool(self.by_kind) and row is None for row in offsets], dtype=np.bool_)
        stacked = [nothing if row is None else row for row in offsets]
        return np.array(stacked, dtype=np.float64).reshape(len(kinds), 2 * efforts), unknown


NO_KINDS = KindOffsets()
