"""A request as the served model takes it.

Its effort may be named behind the model, and its length is bounded by the context.
"""

from dataclasses import replace

from server.api.fields import level
from server.api.request import ParsedRequest, check_coherent
from server.engines.dialect import MESSAGES
from server.engines.model_info import ModelInfo
from server.errors import BadRequest

_LENGTH_FIELDS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
_CHARACTERS_PER_TOKEN = 3


def for_model(request: ParsedRequest, model: ModelInfo, path: str) -> ParsedRequest:
    """The request with the effort of the model's suffix, and without a length beyond the context.

    Clients send defaults for `max_tokens` that a short context does not have. An engine takes a
    missing one as all that is left; Messages must have one.

    Raises:
        BadRequest: the suffix contradicts another field.
    """
    if request.model is not None and request.model != model.model:
        request = _with_suffix(request, model.effort_suffix(request.model) or "auto")
    if request.max_tokens is None or model.context is None or request.max_tokens < model.context:
        return request
    if path == MESSAGES:
        text = sum(len(turn.text) for turn in request.conversation.turns)
        room = max(1, model.context // 8, model.context - text // _CHARACTERS_PER_TOKEN)
        room = min(room, model.context - 1)
        return replace(request, max_tokens=room, body={**request.body, "max_tokens": room})
    body = {name: value for name, value in request.body.items() if name not in _LENGTH_FIELDS}
    return replace(request, max_tokens=None, body=body)


def _with_suffix(request: ParsedRequest, word: str) -> ParsedRequest:
    effort = level("model", word)
    if effort == "auto":
        return request
    thinking = request.thinking
    if thinking.effort not in (None, effort) or (thinking.thinks and effort == "none"):
        conflict = thinking.effort or "a switch that turns thinking on"
        raise BadRequest(
            f"the model '{request.model}' asks for effort '{effort}', and the request for "
            f"{conflict}: leave one out",
            "model",
        )
    return check_coherent(replace(request, thinking=thinking._replace(effort=effort)))
