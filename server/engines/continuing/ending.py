"""How a choice ended, of which no answer came: whether and how it can be continued."""

import re

from router.finish_reason import finish_meaning
from server.engines.continuing.api import Kind

_TEXT = re.compile(rb'\s*+:\s*+"([^"]*)"')


def end_kind(reason: object) -> Kind | None:
    """`cut` or `end`, by a finish reason; None where none is known, or nothing may go on.

    A call that did not come is no answer: it ends the choice like any other end.
    """
    meaning = finish_meaning(reason)
    if meaning == "cut":
        return "cut"
    return "end" if meaning in ("end", "call") else None


def is_cut_or_several(raw: bytes, name: bytes) -> bool:
    """Whether the field of this name, in a whole answer's JSON, says that a limit ended it.

    Also where there are several such fields, or none.
    """
    at = raw.find(name)
    if at < 0 or raw.find(name, at + 1) >= 0:
        return True
    reason = _TEXT.match(raw, at + len(name))
    return reason is not None and finish_meaning(reason[1].decode(errors="replace")) == "cut"
