"""Run llama.cpp's server: `python -m server.llamacpp --model FILE.gguf --port PORT`."""

import os
import signal
import threading
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import click

xllamacpp: Any = import_module("xllamacpp")  # has no types

_HTTP_THREADS = 64
"""Threads of the HTTP server besides the slots: a connection that is kept open takes one."""

_LOG_SECONDS = 1
"""Time for the thread that writes llama.cpp's log. An exit would lose what it has not written."""


@click.command()
@click.option(
    "--model", type=click.Path(path_type=Path), required=True, metavar="FILE",
    help="GGUF file; of a model in parts, the first.",
)  # fmt: skip
@click.option("--served-model-name", metavar="NAME", help="Default: the file's name.")
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS")
@click.option("--port", type=int, default=8001, show_default=True, metavar="PORT")
@click.option(
    "--threads", type=int, default=1, show_default=True, metavar="N", help="Threads that compute."
)
@click.option(
    "--slots", type=int, default=1, show_default=True, metavar="N", help="Concurrent generations."
)
@click.option(
    "--context", type=int, default=0, metavar="TOKENS",
    help="Context of each slot; default: the model's own.",
)  # fmt: skip
@click.option(
    "--prompt-cache", type=int, default=512, show_default=True, metavar="MIB",
    help="Memory for prompts of earlier requests.",
)  # fmt: skip
@click.option("--chat-template", type=click.Path(path_type=Path), metavar="FILE")
@click.option("--transition", default="", metavar="TEXT", help="Ends thinking at its budget.")
@click.option("--exit-with-parent", is_flag=True, help="Stop at the end of standard input.")
def main(
    model: Path,
    served_model_name: str | None,
    host: str,
    port: int,
    threads: int,
    slots: int,
    context: int,
    prompt_cache: int,
    chat_template: Path | None,
    transition: str,
    exit_with_parent: bool,
) -> None:
    """llama.cpp's own server, on the CPU."""
    signal.signal(signal.SIGTERM, _exit)
    signal.signal(signal.SIGINT, _exit)
    if exit_with_parent:
        threading.Thread(target=_exit_at_end_of_input, daemon=True).start()
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.model_alias = {served_model_name or model.stem}
    params.hostnames, params.port = [host], port
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.n_parallel, params.n_ctx = slots, context * slots
    params.n_threads_http = slots + _HTTP_THREADS
    params.cache_ram_mib = prompt_cache
    params.endpoint_metrics, params.ui = True, False
    params.verbosity = 1
    if chat_template is not None:
        params.chat_template = chat_template.read_text(encoding="utf-8-sig")
    if transition:
        params.sampling.reasoning_budget_message = transition
    try:
        server = xllamacpp.Server(params)
    except RuntimeError as error:  # llama.cpp tells why on standard error
        time.sleep(_LOG_SECONDS)
        raise SystemExit(1) from error
    assert server
    threading.Event().wait()


def _exit(*_: object) -> None:
    """Exit without the server's own end, which waits for connections that are kept open."""
    os._exit(0)


def _exit_at_end_of_input() -> None:
    while os.read(0, 1024):
        pass
    os._exit(0)


if __name__ == "__main__":
    main(prog_name="python -m server.llamacpp")
