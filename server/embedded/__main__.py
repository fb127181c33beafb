"""Run the embedded engine: `python -m server.embedded --model FOLDER --port PORT`."""

import argparse
import os
import signal
import sys
import threading
from pathlib import Path

import uvicorn

from server.embedded.app import Engine, create_app
from server.embedded.checkpoint import Checkpoint, CheckpointError


def main() -> int:
    """Serve until SIGTERM; exit status 2 where the checkpoint cannot be used."""
    parser = argparse.ArgumentParser(
        prog="python -m server.embedded",
        description="A small CPU engine for demos and tests, in vLLM's dialect.",
    )
    parser.add_argument("--model", type=Path, required=True, help="checkpoint folder")
    parser.add_argument("--served-model-name", help="default: the folder's name")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8001)
    parser.add_argument("--workers", type=int, default=2, help="generations at the same moment")
    parser.add_argument(
        "--exit-with-parent", action="store_true", help="stop when standard input ends"
    )
    arguments = parser.parse_args()
    try:
        checkpoint = Checkpoint(arguments.model, arguments.workers)
    except CheckpointError as error:
        print(f"embedded engine: {error}", file=sys.stderr)
        return 2
    if arguments.exit_with_parent:
        threading.Thread(target=_stop_at_end_of_input, daemon=True).start()
    name = arguments.served_model_name or arguments.model.resolve().name
    app = create_app(Engine(checkpoint, name, arguments.workers))
    uvicorn.run(
        app,
        host=arguments.host,
        port=arguments.port,
        log_level="warning",
        timeout_graceful_shutdown=2,
    )
    return 0


def _stop_at_end_of_input() -> None:
    while os.read(0, 1024):  # not through sys.stdin, whose lock would outlive this thread
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
