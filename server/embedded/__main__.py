"""Run the embedded engine: `python -m server.embedded --model FOLDER --port PORT`."""

import os
import signal
import threading
from pathlib import Path

import click
import uvicorn

from server.embedded.app import Engine, create_app
from server.embedded.checkpoint import Checkpoint, CheckpointError


class UnusableCheckpoint(click.ClickException):
    """The checkpoint folder cannot be loaded."""

    exit_code = 2


@click.command()
@click.option(
    "--model", type=click.Path(path_type=Path), required=True, metavar="FOLDER",
    help="Checkpoint folder.",
)  # fmt: skip
@click.option("--served-model-name", metavar="NAME", help="Default: the folder's name.")
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS")
@click.option("--port", type=int, default=8001, show_default=True, metavar="PORT")
@click.option(
    "--workers", type=int, default=2, show_default=True, metavar="N", help="Concurrent generations."
)
@click.option("--exit-with-parent", is_flag=True, help="Stop at the end of standard input.")
def main(
    model: Path,
    served_model_name: str | None,
    host: str,
    port: int,
    workers: int,
    exit_with_parent: bool,
) -> None:
    """A small CPU engine for demos and tests, in vLLM's dialect."""
    try:
        checkpoint = Checkpoint(model, workers)
    except CheckpointError as error:
        raise UnusableCheckpoint(str(error)) from error
    if exit_with_parent:
        threading.Thread(target=_stop_at_end_of_input, daemon=True).start()
    name = served_model_name or model.resolve().name
    app = create_app(Engine(checkpoint, name, workers))
    uvicorn.run(
        app,
        host=host,
        port=port,
        log_level="warning",
        timeout_graceful_shutdown=2,
    )


def _stop_at_end_of_input() -> None:
    while os.read(0, 1024):  # not through sys.stdin, whose lock would outlive this thread
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main(prog_name="python -m server.embedded")
