"""The request and the reply of an engine's `/tokenize`, which is beside `/v1` on every engine."""

from typing import cast

from router.token_count import token_count
from server.http.json_codec import JSONError, as_object, dumps, loads

PATH = "/tokenize"


def token_request(text: str, model: str | None) -> bytes:
    """The JSON body: vLLM and SGLang read `prompt`, llama.cpp `content`."""
    body = {"prompt": text, "content": text, "add_special_tokens": False}
    return dumps(body if model is None else {**body, "model": model})


def read_token_count(raw: bytes) -> int | None:
    """The number of tokens that a reply counts or lists; None where it does neither."""
    try:
        reply = as_object(loads(raw))
    except JSONError:
        return None
    count, tokens = token_count(reply.get("count")), reply.get("tokens")
    if count is not None:
        return count
    return len(cast("list[object]", tokens)) if isinstance(tokens, list) else None
