#!/bin/sh
# huggingface_hub 2.4.0: an answer of the hub that is an error is an `OSError`; a hub that does not answer is not.
#
# Guess: `except OSError` around a call of the hub catches both, as it did while the library used requests (whose errors are
# all OSErrors), and as it still does for status errors, whose class keeps OSError among its bases. Or `except
# httpx.HTTPError` does, which releases 1.x raised.
# Seen: a status of 404 raises an error that is an OSError; a refused connection raises `httpx2.ConnectError`, which is neither
# an OSError, nor a ConnectionError, nor an error of httpx, which may be installed beside it. Only `httpx2.HTTPError` has both.
# Hurts: scripts that fall back to a local copy, or try again, when the hub is down: they end with a traceback at the first
# real outage, and all their tests with wrong names passed.
# Remedy: catch `(OSError, httpx2.HTTPError)`.
# Source: huggingface_hub/errors.py, `HfHubHTTPError`; huggingface_hub/utils/_http.py.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check huggingface_hub==2.4.0 httpx==0.28.1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import httpx2
from huggingface_hub import HfApi


class Missing(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(404)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def error_at(port):
    try:
        HfApi(endpoint=f"http://127.0.0.1:{port}").model_info("someone/something")
    except Exception as error:
        return error
    raise SystemExit("no error")


server = HTTPServer(("127.0.0.1", 0), Missing)
threading.Thread(target=server.serve_forever, daemon=True).start()
missing = error_at(server.server_port)
server.shutdown()
with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]
refused = error_at(port)
families = {"OSError": OSError, "ConnectionError": ConnectionError, "httpx.HTTPError": httpx.HTTPError, "httpx2.HTTPError": httpx2.HTTPError}
seen = {}
for name, error in (("status 404", missing), ("refused connection", refused)):
    seen[name] = [family for family, base in families.items() if isinstance(error, base)]
    print(f"{name}: {type(error).__name__} is one of {', '.join(seen[name])}")
expected = {"status 404": ["OSError", "httpx2.HTTPError"], "refused connection": ["httpx2.HTTPError"]}
assert seen == expected, "the behaviour has changed"
PYTHON
