"""An endpoint that misbehaves on command, on a real loopback socket.

It stands in for other people's OpenAI-compatible engines, whose oddities the embedded engine does
not have. The first part of the path names the reply: `{url}/{name}/chat/completions`.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from app_server import served
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

USAGE = {"completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 3}}


def completion(text: str, finish: str = "stop", **more: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"content": text}, "finish_reason": finish}], **more}


def delta(**fields: Any) -> dict[str, Any]:
    return {"choices": [{"delta": fields}]}


EVENTS, JSON = "text/event-stream", "application/json"
NO_DETAILS = {"completion_tokens": 9, "completion_tokens_details": None}
FIVE = delta(content="5")
PARTS = {"content": [{"type": "text", "text": "5"}]}
CALL = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}
REPLIES: dict[str, tuple[str, list[dict[str, Any] | str]]] = {
    "html": ("text/html", ["<html>"]),
    "parts": (JSON, [{**completion(""), "usage": USAGE} | {"choices": [{"message": PARTS}]}]),
    "null-message": (JSON, [{"choices": [{"message": None}], "usage": USAGE}]),
    "list-details": (JSON, [completion("5", usage={**USAGE, "completion_tokens_details": [3]})]),
    "silent-usage": (JSON, [completion("It is 5.")]),
    "cut-number": (JSON, [completion("The answer is 5", "length", usage=USAGE)]),
    "cut-later": (JSON, [completion("The answer is 5. Or", "length", usage=USAGE)]),
    "sse": (
        EVENTS,
        [delta(role="assistant"), delta(reasoning="2"), FIVE, {"usage": USAGE}, "[DONE]"],
    ),
    "slow": (EVENTS, [FIVE, {"usage": USAGE}, "[DONE]"]),
    "sse-broken-chunk": (EVENTS, [FIVE, "{broken"]),
    "sse-odd-chunk": (EVENTS, ["[1]", "[DONE]"]),
    "sse-short": (EVENTS, [FIVE]),
    "sse-no-usage": (EVENTS, [{"choices": [{"finish_reason": None}]}, FIVE, "[DONE]"]),
    "sse-plain-usage": (EVENTS, [FIVE, {"choices": [], "usage": NO_DETAILS}, "[DONE]"]),
    "sse-error": (EVENTS, [FIVE, {"error": {"message": "died"}}]),
    "sse-no-done": (EVENTS, [FIVE, {"choices": [{"finish_reason": "stop"}], "usage": USAGE}]),
    "sse-string-error": (EVENTS, [FIVE, {"error": "died"}, {"usage": USAGE}, "[DONE]"]),
    "sse-object-error": (EVENTS, [FIVE, {"object": "error", "message": "died"}, "[DONE]"]),
    "sse-choice-error": (
        EVENTS,
        [FIVE, {"choices": [{"error": {"message": "died"}}], "usage": USAGE}, "[DONE]"],
    ),
    "sse-error-finish": (
        EVENTS,
        [FIVE, {"choices": [{"finish_reason": "error"}], "usage": USAGE}, "[DONE]"],
    ),
    "sse-error-event": (
        EVENTS,
        [FIVE, "{}\n\nevent: error\ndata: died", {"usage": USAGE}, "[DONE]"],
    ),
    "sse-returns": (EVENTS, [FIVE, f'{{"usage":\ndata: {json.dumps(USAGE)}}}', "[DONE]"]),
    "sse-null-error": (EVENTS, [{**FIVE, "error": None}, {"usage": USAGE}, "[DONE]"]),
    "sse-odd-usage": (EVENTS, [FIVE, {"usage": {"completion_tokens": "9"}}, "[DONE]"]),
    "sse-separators": (
        EVENTS,
        [
            '{"choices": [{"delta": {"content": "It is\u2028not 4\u0085but"}}]}',
            delta(content=" 5"),
            {"usage": USAGE},
            "[DONE]",
        ],
    ),
    "sse-tool-call": (EVENTS, [delta(tool_calls=[CALL]), {"usage": USAGE}, "[DONE]"]),
}
"""By name: the media type, and the events or parts of the body. Other names get a right answer."""


class Endpoint:
    """What was asked so far, and the replies; `asked` counts requests by name.

    `keys` are the Authorization headers seen, `body` is what was asked last. `refuses` answers 400
    to everything, `picky` to one request of fifteen, `status-404` that status, `moved` redirects to
    `fine`, `slow` streams after a fifth of a second.
    """

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.keys: set[str | None] = set()
        self.body = b""
        self.url = ""

    async def reply(self, request: Request) -> Response:
        name: str = request.path_params["name"]
        self.asked[name] += 1
        self.keys.add(request.headers.get("authorization"))
        self.body = await request.body()
        if name.startswith("status-"):
            return Response("no", int(name.removeprefix("status-")))
        if name == "refuses" or (name == "picky" and self.asked[name] % 15 == 0):
            return Response('{"error": {"message": "too long"}}', 400, media_type=JSON)
        if name == "slow":
            await asyncio.sleep(0.2)
        if name == "moved":
            return Response(None, 307, {"location": f"{self.url}/fine/chat/completions"})
        if name.startswith("busy") and self.asked[name] < 3:
            headers = {"busy-date": "Wed, 21 Oct 2015 07:28:00 GMT", "busy-odd": "soon"}
            wait = {**headers, "busy-second": "1"}.get(name, "0")
            return Response("busy", 503 if self.asked[name] == 1 else 429, {"retry-after": wait})
        if name == "cut-by-an-error" and self.asked[name] < 3:
            cut = completion("It is 4", usage=USAGE)
            cut["choices"][0]["finish_reason"] = "error"
            return Response(json.dumps(cut if self.asked[name] == 1 else {"error": {"code": 502}}))
        kind, body = REPLIES.get(name, (JSON, [completion("It is 5.", usage=USAGE)]))
        texts = [part if isinstance(part, str) else json.dumps(part) for part in body]
        if kind == EVENTS:
            texts = [f"data: {text}\n\n" for text in texts]
            if name == "sse-returns":
                texts = [text.replace("\n", "\r") for text in texts]
        return Response("".join(texts), media_type=kind)


@contextmanager
def misbehaving() -> Generator[Endpoint]:
    endpoint = Endpoint()
    route = Route("/{name}/chat/completions", endpoint.reply, methods=["POST"])
    with served(Starlette(routes=[route])) as endpoint.url:
        yield endpoint
