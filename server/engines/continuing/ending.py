"""How a choice ended, of which no answer came: whether and how it can be continued."""

from router.finish_reason import finish_meaning
from server.engines.continuing.api import Kind

ENDING_SECONDS = 2.0
"""Time for usage, [DONE] and the end of a stream, once the model has finished."""


def end_kind(reason: object) -> Kind | None:
    """`cut` or `end`, by a finish reason; None where none is known, or nothing may go on.

    A call that did not come is no answer: it ends the choice like any other end.
    """
    meaning = finish_meaning(reason)
    if meaning == "cut":
        return "cut"
    return "end" if meaning in ("end", "call") else None


def is_cut(reason: bytes) -> bool:
    """Whether a limit of tokens ended the answer, by a finish reason within JSON."""
    return finish_meaning(reason.decode(errors="replace")) == "cut"
