"""Which conversations are held out at the baseline effort, so that savings can be measured.

By a keyed hash of the conversation: every turn of it, on every gateway with the same key, is in the
same arm, without any memory. A hash without the key tells nothing of the text.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from router.effort import Effort

Arm = Literal["treated", "holdout", "explore"]


@dataclass(frozen=True, slots=True)
class Shares:
    """The probabilities of the arms; what remains of 1 is treated."""

    holdout: float = 0.0
    explore: float = 0.0

    @property
    def treated(self) -> float:
        """The share in which the router decides."""
        return 1.0 - self.holdout - self.explore


@dataclass(frozen=True, slots=True)
class Draw:
    """The arm of a conversation; `effort` is what it is to get, None where the router decides.

    `conversation` is its hash; `p_each` the probability of each effort to be drawn for itself.
    """

    arm: Arm
    effort: Effort | None
    conversation: str
    shares: Shares
    p_each: float


class Holdout:
    """Draws arms.

    Args:
        shares: the arms' probabilities.
        key: secret bytes; other bytes draw anew.
    """

    def __init__(self, shares: Shares, key: bytes) -> None:
        self._shares = shares
        self._key = key[: hashlib.blake2b.MAX_KEY_SIZE]

    def draw(self, conversation: str, efforts: Sequence[Effort], baseline: Effort) -> Draw:
        """The arm of a conversation, among the model's efforts."""
        data = conversation.encode(errors="surrogatepass")
        digest = hashlib.blake2b(data, digest_size=32, key=self._key).digest()
        name = digest[:16].hex()
        place = int.from_bytes(digest[16:24], "big") / 2**64
        shares = self._shares
        p_each = shares.explore / len(efforts)
        if place < shares.holdout:
            return Draw("holdout", baseline, name, shares, p_each)
        if place < shares.holdout + shares.explore:
            pick = int.from_bytes(digest[24:32], "big") * len(efforts) >> 64
            return Draw("explore", efforts[pick], name, shares, p_each)
        return Draw("treated", None, name, shares, p_each)


NOBODY = Holdout(Shares(), b"")
"""Holds nobody out."""
