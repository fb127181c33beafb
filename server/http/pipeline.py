"""The queue of a connection's pipelined requests."""

from typing import Any


class Pipeline(list[Any]):
    """In place of uvicorn's deque, which takes 700 bytes more while it is empty: nearly always."""

    __slots__ = ()

    def appendleft(self, request: Any) -> None:
        """Add the newest request; `pop` takes the oldest."""
        self.insert(0, request)
