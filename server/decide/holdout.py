"""Assigns conversations to arms at random, so that savings can be measured.

The arm follows from a keyed hash of the conversation's id: every turn of it, on every gateway with
the same key, is in the same arm.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from router.effort import Effort

Arm = Literal["treated", "holdout", "explore"]


@dataclass(frozen=True, slots=True)
class Shares:
    """The probabilities of the arms; the remainder of 1 is treated."""

    holdout: float = 0.0
    explore: float = 0.0

    @property
    def treated(self) -> float:
        """The probability of the arm in which the router decides."""
        return 1.0 - self.holdout - self.explore


@dataclass(frozen=True, slots=True)
class Draw:
    """The arm of a conversation.

    Attributes:
        arm: holdout gets the baseline effort, explore a uniformly drawn one.
        effort: the arm's effort; None where the router decides.
        shares: the probabilities of the arms.
        p_each: the probability of each effort to be drawn by the arm explore.
    """

    arm: Arm
    effort: Effort | None
    shares: Shares
    p_each: float


class Holdout:
    """Draws arms.

    Args:
        shares: the arms' probabilities.
        key: secret bytes; another key draws independently.
    """

    def __init__(self, shares: Shares, key: bytes) -> None:
        self._shares = shares
        self.set_key(key)

    def set_key(self, key: bytes) -> None:
        """Draw by another key from now on."""
        self._key = key[: hashlib.blake2b.MAX_KEY_SIZE]

    def draw(self, conversation: str, efforts: Sequence[Effort], baseline: Effort) -> Draw:
        """The arm of a conversation.

        Args:
            conversation: its id.
            efforts: those that it may get, at least one.
            baseline: the effort of the arm holdout.
        """
        digest = hashlib.blake2b(
            conversation.encode(), digest_size=16, key=self._key, person=b"arm"
        ).digest()
        uniform = int.from_bytes(digest[:8], "big") / 2**64
        shares = self._shares
        p_each = shares.explore / len(efforts)
        if uniform < shares.holdout:
            return Draw("holdout", baseline, shares, p_each)
        if uniform < shares.holdout + shares.explore:
            index = int.from_bytes(digest[8:], "big") * len(efforts) >> 64
            return Draw("explore", efforts[index], shares, p_each)
        return Draw("treated", None, shares, p_each)


NO_HOLDOUT = Holdout(Shares(), b"")
"""Assigns every conversation to the arm treated."""
