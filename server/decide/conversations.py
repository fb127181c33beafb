"""What the gateway remembers of conversations: the effort that each was last given.

In memory only, bounded, least recently used first out; a forgotten conversation is simply routed
afresh. Keys are hashes, never text.
"""

from collections import OrderedDict

from router.effort import Effort

_CAPACITY = 50_000


class Conversations:
    """Efforts by conversation."""

    def __init__(self, capacity: int = _CAPACITY) -> None:
        self._efforts: OrderedDict[str, Effort] = OrderedDict()
        self._capacity = capacity

    def effort(self, conversation: str) -> Effort | None:
        """The effort of the conversation's last turn, if it is remembered."""
        return self._efforts.get(conversation)

    def remember(self, conversation: str, effort: Effort) -> None:
        """Keep the effort of a turn."""
        self._efforts[conversation] = effort
        self._efforts.move_to_end(conversation)
        if len(self._efforts) > self._capacity:
            self._efforts.popitem(last=False)
