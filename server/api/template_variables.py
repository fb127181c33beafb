"""Variables of chat templates that switch thinking, where a client names them.

Those in the table of `server.api.thinking_fields` get the decision, since engines set only some of
them. Others that look like a switch cannot be held to a limit.
"""

import re
from collections.abc import Mapping
from typing import Any, cast

from router.effort import Effort
from server.api.thinking_fields import FIELDS, OFF_WORDS

OWNER = "chat_template_kwargs"
_WRITTEN = frozenset(
    [
        "thinking",
        "thinking_effort",
        "thinking_mode",
        "thinking_option",
        "force_reasoning",
        "skip_reasoning",
    ]
)
_KNOWN = frozenset(field.name.partition(".")[2] for field in FIELDS if field.name.startswith(OWNER))
_ON_WORDS = {off: on for on, off in OFF_WORDS.items()}
_OFF_WORDS = {**OFF_WORDS, "adaptive": "disabled"}
_SWITCH = re.compile(r"think|reason|effort|_cot|cot_", re.IGNORECASE)
_SHOWN = re.compile(
    r"clear|preserve|keep|hist|past|prev|truncat|drop|strip|skip|no_|dis|format", re.I
)
"""Names about the thoughts of former turns, about what is shown, or of a switch to off."""


def set_template_variables(body: dict[str, Any], requested: object, effort: Effort) -> None:
    """Set the variables that the client named, and that no dialect writes, to the decision.

    Args:
        body: what is written for the engine; changed.
        requested: the client's `chat_template_kwargs`.
        effort: the decision's, in the word that the template takes.
    """
    if not isinstance(requested, dict) or _WRITTEN.isdisjoint(cast("dict[str, Any]", requested)):
        return
    sent = cast("dict[str, Any]", requested)
    thinks = effort != "none"
    variables: dict[str, Any] = {}
    if "thinking" in sent:
        variables["thinking"] = thinks
    if "thinking_effort" in sent and thinks:
        variables["thinking_effort"] = effort
    for name in ("thinking_mode", "thinking_option"):
        word = _word(sent.get(name), thinks)
        if word is not None:
            variables[name] = word
    if "force_reasoning" in sent:
        variables["force_reasoning"] = thinks and sent["force_reasoning"]
    if "skip_reasoning" in sent:
        variables["skip_reasoning"] = not thinks
    if variables:
        body[OWNER] = {**(body.get(OWNER) or {}), **variables}


def _word(requested: object, thinks: bool) -> str | None:
    """The client's word, or its opposite; None, so the template's default, where it has none."""
    if not isinstance(requested, str):
        return None
    word = requested.lower()
    is_off = word in _ON_WORDS
    if thinks:
        return _ON_WORDS[word] if is_off else requested
    return requested if is_off else _OFF_WORDS.get(word)


def unknown_switch(body: Mapping[str, Any]) -> str | None:
    """The path of a variable that may switch thinking on, and that nothing sets to the decision."""
    variables = body.get(OWNER)
    if not isinstance(variables, dict):
        return None
    for name, value in cast("dict[str, Any]", variables).items():
        if value and name not in _KNOWN and _SWITCH.search(name) and not _SHOWN.search(name):
            return f"{OWNER}.{name}"
    return None
