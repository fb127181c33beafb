#!/bin/sh
# vllm-router 0.1.17: the two policies that keep sessions send all chat completions that name no session to one engine.
#
# Guess: `--policy consistent_hash` takes the key of a request without a session header from its body: the field `user`,
# or else a hash of the whole body. Its documentation says so, and recommends the policy for chats with a history.
# Seen: of 40 different chat completions all reach the same one of four engines, with a `user` of their own or without;
# `sticky_least_loaded` does the same. Completions and Messages are spread. For a chat completion the policy gets
# `session_params.session_id` instead of the body, and an empty text where there is none, which is one key for all.
# Hurts: whoever puts it before a fleet of vLLM: openai-python sends none of its headers, so one engine queues while the
# others idle, and nothing is refused. Where a proxy adds a request id the load looks right, since that counts as a session
# too; then a conversation's turns are spread like any other requests, and their cached prefixes are of no use.
# Remedy: send `X-Session-ID`, one for each conversation; or `--policy cache_aware`.
# Source: docs/load_balancing/README.md of vllm-project/router, "Hash Key Priority"; its pull request 213, open, has the cause.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check vllm-router==0.1.17
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import json
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ENGINES, REQUESTS = 4, 40
reached = Counter()


class Engine(BaseHTTPRequestHandler):
    """Stands in for vLLM: healthy, and answers everything with an empty object."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        reached[self.server.server_port] += 1
        self.do_GET()

    def log_message(self, *_):
        pass


def chat(number, **fields):
    messages = [{"role": "user", "content": f"{number} is the number of this question. What is its square?"}]
    return {"model": "m", "max_tokens": 8, "messages": messages, **fields}


KINDS = {
    "chat": ("chat/completions", chat, lambda number: {}),
    "chat, a user each": ("chat/completions", lambda number: chat(number, user=f"user-{number}"), lambda number: {}),
    "chat, a request id each": ("chat/completions", chat, lambda number: {"x-request-id": f"request-{number}"}),
    "chat, a session each": ("chat/completions", chat, lambda number: {"x-session-id": f"session-{number}"}),
    "completions": ("completions", lambda number: {"model": "m", "prompt": f"{number} squared is"}, lambda number: {}),
    "messages": ("messages", chat, lambda number: {}),
}


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def wait_for(url, process):
    for _ in range(300):
        assert process.poll() is None, Path("router.log").read_text()
        try:
            return urllib.request.urlopen(url).read()
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the router did not start")


def spread(policy, workers):
    """How many of REQUESTS each engine got, by kind of request, in descending order."""
    port = free_port()
    command = [Path(sys.executable).parent / "vllm-router", "--policy", policy, "--worker-urls", *workers]
    command += ["--port", str(port), "--prometheus-port", str(free_port())]
    with Path("router.log").open("w") as log:
        router = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_for(f"http://127.0.0.1:{port}/health", router)
        counts = {}
        for kind, (path, body, headers) in KINDS.items():
            reached.clear()
            for number in range(REQUESTS):
                data = json.dumps(body(number)).encode()
                head = {"content-type": "application/json", **headers(number)}
                urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/v1/{path}", data, head)).read()
            counts[kind] = sorted(reached.values(), reverse=True)
        return counts
    finally:
        router.terminate()
        router.wait()


servers = [ThreadingHTTPServer(("127.0.0.1", 0), Engine) for _ in range(ENGINES)]
for server in servers:
    threading.Thread(target=server.serve_forever, daemon=True).start()
urls = [f"http://127.0.0.1:{server.server_port}" for server in servers]
for policy in ("consistent_hash", "sticky_least_loaded"):
    print(f"{policy}: {REQUESTS} requests by engine")
    for kind, counts in spread(policy, urls).items():
        print(f"  {kind:24}{counts}")
        assert sum(counts) == REQUESTS, "requests were lost or repeated"
        to_one = kind in ("chat", "chat, a user each")
        assert (len(counts) == 1) == to_one, "the behaviour has changed"
PYTHON
