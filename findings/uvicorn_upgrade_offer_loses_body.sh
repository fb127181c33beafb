#!/bin/sh
# uvicorn 0.54 with httptools: the body of a POST that offers HTTP/2 (`Upgrade: h2c`) never reaches the application.
#
# Guess: a server that does not speak h2c ignores the offer and answers in HTTP/1.1, as RFC 9110 section 7.8 has it.
# Seen: with the `httptools` parser (the default of `uvicorn[standard]`), the application receives an empty body;
# with the `h11` parser it receives the whole body.
# Hurts: Java's built-in HttpClient sends this offer with every request unless it is set to HTTP/1.1; its chat
# completions are refused as "not JSON".
# Remedy: `--http h11`, a proxy that removes the offer, or `HttpClient.Version.HTTP_1_1` in the client.
# Source: llhttp pauses after the headers of a request with an Upgrade header; observed on both parsers.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  uvicorn==0.54.0 httptools==0.7.1 h11==0.16.0
cd "$folder"
cat > application.py <<'PYTHON'
async def app(scope, receive, send):
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    body = f"{size} bytes".encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
PYTHON
"$folder/venv/bin/python" - <<'PYTHON'
import http.client
import subprocess
import sys
import time


def answer(parser: str, port: int) -> str:
    words = [sys.executable, "-m", "uvicorn", "application:app", "--port", str(port), "--log-level", "error"]
    server = subprocess.Popen([*words, "--lifespan", "off", "--http", parser])
    try:
        for _ in range(100):
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
                offer = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABk"}
                connection.request("POST", "/", b"x" * 100, offer)
                response = connection.getresponse()
                return f"{response.status}, {response.read().decode(errors='replace')}"
            except ConnectionRefusedError:
                time.sleep(0.1)
        return "no answer"
    finally:
        server.terminate()
        server.wait()


seen = {parser: answer(parser, port) for parser, port in (("httptools", 47811), ("h11", 47812))}
print(seen)
assert seen["h11"] == "200, 100 bytes", "the behaviour has changed"
assert seen["httptools"] != "200, 100 bytes", "the behaviour has changed"
PYTHON
