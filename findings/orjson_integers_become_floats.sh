#!/bin/sh
# orjson 3.11: an integer above 64 bits is read as a float, silently.
#
# Guess: a JSON parser that is strict everywhere else keeps an integer or raises, as `json` keeps it.
# Seen: `orjson.loads` returns 1.8446744073709552e+19 for 18446744073709551616, and `dumps` then writes the float.
# Hurts: a gateway that reads and writes bodies with orjson changes a client's number (a seed, an id in tool
# arguments) without an error, although it passes the field on "untouched".
# Remedy: keep the client's bytes for what is not read, or refuse numbers beyond 64 bits.
# Source: observed; orjson's README says integers beyond 64 bits cannot be *serialized*.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check orjson==3.11.9
"$folder/venv/bin/python" - <<'PYTHON'
import json

import orjson

body = '{"seed": 18446744073709551616}'
read = orjson.loads(body)["seed"]
print(f"orjson {orjson.__version__}: {read!r} ({type(read).__name__}); json: {json.loads(body)['seed']!r}")
print("written again:", orjson.dumps({"seed": read}).decode())
assert isinstance(read, float) and orjson.loads('{"seed": 18446744073709551615}')["seed"] == 2**64 - 1, (
    "the behaviour has changed"
)
PYTHON
