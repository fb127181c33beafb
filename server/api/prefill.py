"""Whether a request writes the beginning of the answer itself, in which it may open a thought."""

import re
from typing import Any, cast

from server.api.request import ParsedRequest

_PROMPT_ROLES = ("user", "system", "developer", "tool", "function")

_THOUGHT = re.compile(
    r"[<◁](?:(/)|\|?(?:begin_|start_|(end_))?(?:of_)?)?(?:[a-z]+[:_|])?"
    r"(?:think|thinking|thoughts?|reason|reasoning)(?:[:\s][^<>]{0,40})?\|?(?:[>▷]|\Z)"
    r"|\[(/)?THINK\]|<\|(END)?(?:START)?_THINKING\|>|<\|channel\|?>\s*(?:(final)|\w+)"
    r"|<unused94>|(<unused95>)|(<channel\|>)|<\|inner_(?:prefix|(suffix))\|>",
    re.IGNORECASE,
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
    """Whether the last message ends within a thought, in its text or in fields of its own."""
    turns = request.conversation.turns
    text = turns[-1].text if turns else ""
    *_, tag = [None, *_THOUGHT.finditer(text)]
    if tag is None:
        return not text.strip() and _has_thought(request.messages[-1])
    return not any(tag.groups())


def _has_thought(message: object) -> bool:
    """Whether a message has reasoning beside its text; a call of a tool would follow it."""
    if not isinstance(message, dict):
        return False
    fields = cast("dict[str, Any]", message)
    if fields.get("tool_calls"):
        return False
    if any(fields.get(name) for name in ("reasoning", "reasoning_content", "thinking")):
        return True
    content = fields.get("content")
    kinds = [
        cast("dict[str, Any]", part).get("type")
        for part in cast("list[Any]", content if isinstance(content, list) else [])
        if isinstance(part, dict)
    ]
    return bool(kinds) and kinds[-1] in ("thinking", "reasoning")
