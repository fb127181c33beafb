"""Engines that fail in every way, behind a real gateway on real sockets.

The death and restart of the embedded engine itself are tested in test_server_serve.py.
"""

import json
import signal
import threading

import httpx
import pytest
from clients import anthropic, openai
from polling import until
from processes import Server, serving
from scripted_engine import CHUNK, ScriptedEngine, ask, error_of

from server.engines.connector import unreachable
from server.engines.reply import is_unknown_path
from server.errors import EngineDown


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("script", "status"),
    [
        ("vanish", 502),
        ("hang", 504),
        ("garbage", 502),
        ("html", 502),
        ("redirect", 502),
        ("headers", 502),
        ("no_choices", 502),
    ],
)
def test_before_the_first_byte_an_engine_error_has_its_status(
    front: Server, script: str, status: int, stream: bool
) -> None:
    response = ask(front, script, stream=stream)
    error_of(response, status)
    assert int(response.headers["retry-after"]) >= 1


@pytest.mark.parametrize("script", ["die", "stop_short", "stall"])
def test_after_the_first_byte_an_engine_error_is_an_event(front: Server, script: str) -> None:
    response = ask(front, script, stream=True)
    assert response.status_code == 200
    *events, error, end = response.text.split("\n\n")
    assert end == ""
    assert events == [CHUNK.decode().strip()]
    assert json.loads(error.removeprefix("data: "))["error"]["message"]


def test_an_unrequested_stream_is_a_502(front: Server) -> None:
    error_of(ask(front, "endless"), 502)


def test_the_openai_client_raises_on_the_error_event(front: Server) -> None:
    with openai.OpenAI(base_url=f"{front.url}/v1", api_key="-", max_retries=0) as client:
        stream = client.chat.completions.create(
            model="scripted", messages=[{"role": "user", "content": "die"}], stream=True
        )
        with stream, pytest.raises(openai.APIError, match="before it was complete"):
            list(stream)


def test_an_engine_s_own_refusal_passes_through(front: Server) -> None:
    response = ask(front, "refuse")
    assert (response.status_code, response.headers["retry-after"]) == (400, "37")
    assert response.json()["error"]["message"] == "too long"


@pytest.mark.parametrize(
    ("script", "status", "kind", "reason", "wait"),
    [
        ("refuse_as_sglang", 429, "rate_limit_error", "too long", "37"),
        ("refuse_as_fastapi", 422, "invalid_request_error", "too long", None),
        ("fail_as_fastapi", 500, "server_error", "out of memory", None),
        ("overload_as_a_proxy", 503, "server_error", "without a reason", "37"),
    ],
)
def test_errors_in_other_formats_keep_status_and_reason(
    front: Server, script: str, status: int, kind: str, reason: str, wait: str | None
) -> None:
    response = ask(front, script)
    error = error_of(response, status)
    assert reason in error["message"]
    assert error["type"] == kind
    assert response.headers.get("retry-after") == wait


def http(status: str, body: str, *headers: str) -> bytes:
    lines = (f"HTTP/1.1 {status}", f"content-length: {len(body)}", "connection: close", *headers)
    return "\r\n".join((*lines, "", body)).encode()


PAGE = "<html><h1>nginx</h1></html>"
REFUSALS = {
    "plain": (http("400 Bad Request", "seed is too long\n"), 400, "seed is too long"),
    "page": (http("413 Too Large", PAGE), 413, "the engine answered HTTP 413 without a reason"),
    "empty": (http("400 Bad Request", ""), 400, "the engine answered HTTP 400 without a reason"),
    "text": (http("422 No", '"bad seed"', "retry-after: 7"), 422, "bad seed"),
    "half": (http("400 No", '{"error": {'), 400, "the engine answered HTTP 400 without a reason"),
    "fields": (http("422 No", '{"detail": [{"msg": "bad seed"}]}'), 422, "bad seed"),
    "busy": (http("429 Busy", PAGE, "retry-after: 7"), 429, "without a reason"),
    "down": (http("503 Down", "no upstream"), 503, "without a reason"),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("script", REFUSALS)
@pytest.mark.parametrize("path", ["chat/completions", "completions", "messages"])
def test_a_refusal_that_is_not_json_stays_one(
    front: Server, engine: ScriptedEngine, path: str, script: str, stream: bool
) -> None:
    engine.replies[script], status, reason = REFUSALS[script]
    body = {"model": "scripted", "max_tokens": 9, "stream": stream}
    body |= (
        {"prompt": script}
        if path == "completions"
        else {"messages": [{"role": "user", "content": script}]}
    )
    response = httpx.post(f"{front.url}/v1/{path}", json=body)
    assert response.status_code == status, response.text
    assert reason in response.json()["error"]["message"]
    assert response.headers.get("retry-after") == ("7" if script in ("text", "busy") else None)
    assert "nginx" not in response.text
    assert (response.json().get("type") == "error") == (path == "messages")
    assert front.logged(response.headers["x-request-id"])
    assert not front.logged("seed", 0)


@pytest.mark.parametrize("path", ["chat/completions", "completions", "messages", "responses"])
def test_a_refusal_of_the_gateway_s_key_is_no_refusal_of_the_client_s(
    front: Server, engine: ScriptedEngine, path: str
) -> None:
    error = '{"error": {"message": "Incorrect API key provided: sk-op***tor", "code": null}}'
    engine.replies["unauthorized"] = http("401 Unauthorized", error)
    body = {"model": "scripted", "max_tokens": 9, "input": "unauthorized"}
    body |= {"prompt": "unauthorized", "messages": [{"role": "user", "content": "unauthorized"}]}
    response = httpx.post(f"{front.url}/v1/{path}", json=body)
    assert response.status_code == 502
    message = response.json()["error"]["message"]
    assert message == "the engine refused the gateway's credentials (HTTP 401)"
    assert front.logged("the engine refused the gateway's credentials: check upstream_api_key")
    assert not front.logged("sk-op", 0)


def test_content_that_an_engine_does_not_allow_is_the_client_s_403(
    front: Server, engine: ScriptedEngine
) -> None:
    error = '{"error": {"message": "your input was flagged", "code": 403}}'
    engine.replies["flagged"] = http("403 Forbidden", error)
    response = ask(front, "flagged")
    assert response.status_code == 403
    assert response.json()["error"]["message"] == "your input was flagged"


def test_a_refusal_of_the_gateway_s_key_under_status_200_is_one_too(
    front: Server, engine: ScriptedEngine
) -> None:
    error = '{"error": {"message": "key sk-op***tor", "code": 401}}'
    engine.replies["late"] = http("200 OK", error)
    assert "the gateway's credentials (HTTP 401)" in error_of(ask(front, "late"), 502)["message"]
    events = CHUNK.decode() + f"data: {error}\n\n"
    engine.replies["late"] = http("200 OK", events, "content-type: text/event-stream")
    text = ask(front, "late", stream=True).text
    assert '"code":"engine_failed"' in text
    assert "sk-op" not in text


def test_anthropic_s_clients_get_their_envelope_type_and_id(
    front: Server,
) -> None:
    with anthropic.Anthropic(base_url=front.url, api_key="-", max_retries=0) as client:
        for model, script, error, kind in (
            ("scripted", "refuse", anthropic.BadRequestError, "invalid_request_error"),
            ("another", "refuse", anthropic.NotFoundError, "not_found_error"),
            ("scripted", "garbage", anthropic.InternalServerError, "api_error"),
        ):
            with pytest.raises(error) as caught:
                client.messages.create(
                    model=model, max_tokens=9, messages=[{"role": "user", "content": script}]
                )
            assert caught.value.request_id
            body = caught.value.body
            assert isinstance(body, dict)
            assert (body["type"], body["error"]["type"]) == ("error", kind)


def test_passed_on_requests_have_their_clients_errors_too(front: Server) -> None:
    body = {"model": "scripted:low", "prompt": "refuse", "messages": []}
    refused = httpx.post(f"{front.url}/v1/completions", json=body)
    assert "does not apply to /v1/completions" in error_of(refused, 400)["message"]
    counted = httpx.post(f"{front.url}/v1/messages/count_tokens", json=body)
    assert counted.json()["type"] == "error"
    assert counted.json()["error"]["type"] == "invalid_request_error"
    assert counted.headers["request-id"] == counted.headers["x-request-id"]


def test_a_complete_stream_is_no_error_however_its_connection_ends(front: Server) -> None:
    response = ask(front, "linger", stream=True)
    assert response.text.split("\n\n")[2:] == [": ping\ndata:[DONE]", ""]
    request_id = f'"request_id":"{response.headers["x-request-id"]}"'
    assert front.logged(request_id)
    assert any(request_id in line and '"status":200' in line for line in front.lines)


def test_only_complete_events_are_passed_on(front: Server) -> None:
    body = {"model": "scripted", "prompt": "die_in_an_event", "stream": True}
    events = httpx.post(f"{front.url}/v1/completions", json=body).text.split("\n\n")
    assert events[0] == CHUNK.decode().strip()
    assert json.loads(events[1].removeprefix("data: "))["error"]["code"] == "engine_failed"
    assert events[2:] == [""]


@pytest.mark.parametrize(
    ("body", "unknown"),
    [
        (None, True),
        ({"detail": "Not Found"}, True),
        ({"error": {"message": "Not Found", "type": "NotFoundError"}}, True),
        ({"error": {"message": "File Not Found", "code": 404}}, True),
        ({"error": "Not Found"}, True),
        ({"error": {"message": "Response with id 'resp_1' not found."}}, False),
        ({"detail": "there is no such file"}, False),
    ],
)
def test_a_404_is_about_the_path_or_about_the_request(body: object, unknown: bool) -> None:
    assert is_unknown_path(body) is unknown


def test_an_engine_that_is_down_is_a_503_for_requests_and_for_ready(engine: ScriptedEngine) -> None:
    absent = ScriptedEngine()
    with serving("--upstream", f"http://127.0.0.1:{absent.port}") as front:
        assert httpx.get(f"{front.url}/ready").status_code == 200
        absent.stop()
        until(lambda: httpx.get(f"{front.url}/ready").status_code == 503)
        response = ask(front, "complete")
        error_of(response, 503)
        assert "retry-after" in response.headers
        assert httpx.get(f"{front.url}/health").status_code == 200


def test_a_connection_time_out_is_an_engine_down() -> None:
    assert isinstance(unreachable(TimeoutError()), EngineDown)


def test_shutdown_timeout_ends_open_streams(engine: ScriptedEngine) -> None:
    with serving(
        "--upstream", f"http://127.0.0.1:{engine.port}", "--shutdown-timeout", "1"
    ) as server:
        body = {"messages": [{"role": "user", "content": "endless"}], "stream": True}
        with httpx.stream("POST", f"{server.url}/v1/chat/completions", json=body) as response:
            blocks = response.iter_raw()
            next(blocks)
            server.process.send_signal(signal.SIGTERM)
            remaining = b"".join(blocks)
            server.process.wait(60)
        assert b'"code":"stopping"' in remaining.split(b"\n\n")[-2]
        assert server.logged('"status":503')
        assert not server.logged("Traceback", 0)


def test_shutdown_timeout_answers_pending_requests_with_503(engine: ScriptedEngine) -> None:
    with serving(
        "--upstream", f"http://127.0.0.1:{engine.port}", "--shutdown-timeout", "1"
    ) as server:
        body = {"messages": [{"role": "user", "content": "hang"}]}
        answers: list[httpx.Response] = []
        url = f"{server.url}/v1/chat/completions"
        asking = threading.Thread(
            target=lambda: answers.append(httpx.post(url, json=body, timeout=60))
        )
        engine.bodies.clear()
        asking.start()
        until(lambda: engine.bodies)
        server.process.send_signal(signal.SIGTERM)
        asking.join(60)
        assert answers[0].status_code == 503
        assert answers[0].json()["error"]["code"] == "stopping"
        assert not server.logged("Traceback", 0)
