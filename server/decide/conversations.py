"""Remembers the effort that each conversation got.

In memory only and bounded, least recently used out first; a forgotten conversation is routed
afresh. Keys are hashes, never text.
"""

from collections import OrderedDict

from router.effort import Effort

_CAPACITY = 50_000


class Conversations:
    """The effort of the latest turn of each conversation.

    Args:
        capacity: conversations remembered at most.
    """

    def __init__(self, capacity: int = _CAPACITY) -> None:
        self._efforts: OrderedDict[str, Effort] = OrderedDict()
        self._capacity = capacity

    def effort(self, conversation: str) -> Effort | None:
        """The effort of the conversation's latest turn; None where it is not remembered."""
        return self._efforts.get(conversation)

    def remember(self, conversation: str, effort: Effort) -> None:
        """Remember the effort of a turn; the oldest conversation is forgotten beyond capacity."""
        self._efforts[conversation] = effort
        self._efforts.move_to_end(conversation)
        if len(self._efforts) > self._capacity:
            self._efforts.popitem(last=False)
