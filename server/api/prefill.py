"""Whether a request writes the beginning of the answer itself, in which it may open a thought."""

import re
from typing import Any, cast

from server.api.request import ParsedRequest

_PROMPT_ROLES = ("user", "system", "developer", "tool", "function")

_THOUGHT = re.compile(
    r"<(/?)(?:seed:)?(?:think|thinking|thought|reason|reasoning)>"
    r"|\[(/?)THINK\]|◁(/?)think▷|<\|(END)?(?:START)?_THINKING\|>|<\|channel\|>\s*(?:(final)|\w+)"
)
"""Where a thought begins or, with a group, ends in the models in use."""


def prefill_field(request: ParsedRequest) -> str | None:
    """The field that lets the client write the beginning of the answer; None where none does.

    A last message that is the model's own counts: several engines continue it without being asked.
    """
    body = request.body
    for owner, prefix in ((body, ""), (body.get("chat_template_kwargs"), "chat_template_kwargs.")):
        if isinstance(owner, dict):
            fields = cast("dict[str, Any]", owner)
            if fields.get("add_generation_prompt", True) not in (True, None):
                return f"{prefix}add_generation_prompt"
            for name in ("continue_final_message", "chat_template", "input_ids"):
                if fields.get(name):
                    return prefix + name
    message = request.messages[-1]
    role = cast("dict[str, Any]", message).get("role") if isinstance(message, dict) else None
    if role in _PROMPT_ROLES:
        return None
    return f"messages[{len(body['messages']) - 1}]" if "messages" in body else "input"


def opens_thought(request: ParsedRequest) -> bool:
    """Whether the last message ends within a thought."""
    turns = request.conversation.turns
    *_, tag = [None, *_THOUGHT.finditer(turns[-1].text if turns else "")]
    return tag is not None and not any(tag.groups())
