"""The body that goes to the engine: the client's own, with the decision in vLLM's fields.

vLLM hands `reasoning_effort` to the checkpoint's chat template, which puts the tag last, after
the conversation, so the cached prefix stays valid when the effort changes.
"""

from typing import Any

from server.asked import Asked
from server.decision import Decision

_ABSORBED = ("reasoning_effort", "enable_thinking")


def rewrite(asked: Asked, decision: Decision, model: str) -> dict[str, Any]:
    """The engine's body; the client's is left as it was."""
    body = {**asked.body, "model": model, "reasoning_effort": decision.effort}
    body.pop("thinking_token_budget", None)
    if decision.budget is not None and decision.effort != "none":
        body["thinking_token_budget"] = decision.budget
    if asked.body.get("chat_template_kwargs"):
        kwargs = asked.body["chat_template_kwargs"]
        kept = {name: value for name, value in kwargs.items() if name not in _ABSORBED}
        body["chat_template_kwargs"] = kept
    if asked.stream:
        options: dict[str, Any] = asked.body.get("stream_options") or {}
        body["stream_options"] = {**options, "include_usage": True}
    return body
