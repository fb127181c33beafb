"""An engine that serves a checkpoint on loopback while a stage generates from it."""

import socket
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx

from child_python import python_command
from models.training.recipe import Engine, Recipe
from models.training.run import RunError
from models.training.worker_process import worker_process

MODEL = "trained"
"""The name that the model is served under."""

_LOG_TAIL_LINES = 15
_MODELS_SECONDS = 10
_HEALTH_SECONDS = 5
_POLL_SECONDS = 0.2


@contextmanager
def serving(recipe: Recipe, model: Path, folder: Path) -> Generator[dict[str, str]]:
    """The engines that serve `model` while the block runs: its name by base URL (with /v1).

    Args:
        recipe: configures the engine.
        model: a checkpoint folder that transformers can load.
        folder: for converted weights and the engine's log.

    Raises:
        RunError: the engine does not start (the message has the end of its log), or an engine that
            already runs serves another model.
    """
    engine = recipe.engine
    if engine.kind == "urls":
        yield {url: _served_name(url, model) for url in (url.rstrip("/") for url in engine.urls)}
        return
    folder.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    command = _command(recipe, model, folder)
    command += ["--host", "127.0.0.1", "--port", str(port), "--served-model-name", MODEL]
    log = folder / "engine.log"
    with worker_process([*command, *engine.flags], log) as process:
        _wait_healthy(process, f"http://127.0.0.1:{port}", engine, log)
        yield {f"http://127.0.0.1:{port}/v1": MODEL}


def _command(recipe: Recipe, model: Path, folder: Path) -> list[str]:
    """The engine's command, after the model is converted to what it reads."""
    engine = recipe.engine
    if engine.kind == "vllm":
        return [engine.python, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)]
    from models.training.conversion import convert, convert_to_gguf  # noqa: PLC0415 - loads torch

    if engine.kind == "embedded":
        convert(model, folder / "model", recipe.model.transition)
        return python_command("server.embedded", "--model", str(folder / "model"))
    file = model if model.suffix == ".gguf" else folder / "model.gguf"
    convert_to_gguf(model, file)
    slots = ["--slots", str(engine.concurrency), "--context", str(engine.context)]
    transition = ["--transition", recipe.model.transition.strip()]
    return python_command("server.llamacpp", "--model", str(file), *slots, *transition)


def _served_name(url: str, model: Path) -> str:
    """The name of `model` at `url`. Each stage has a model of its own, so the engine must tell it.

    vLLM lists the folder; other engines list a name only, which must then be the stage's.
    """
    name = f"{MODEL}-{model.parent.name}"
    remedy = (
        f"serve {model} there under the name {name} (vLLM, SGLang: --served-model-name, llama.cpp: "
        "--alias), then run this again"
    )
    try:
        models = httpx.get(f"{url}/models", timeout=_MODELS_SECONDS).json()["data"]
        roots = {str(entry["id"]): entry.get("root") for entry in models}
    except (httpx.TransportError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise RunError(f"{url} does not list its models ({error!r}): {remedy}") from error
    for served in (name, MODEL):
        root = roots.get(served)
        if isinstance(root, str) and root != served and Path(root).resolve() != model.resolve():
            raise RunError(f"{url} serves {root} as {served}: {remedy}")
        if served == name and name in roots:
            return name
        if isinstance(root, str) and Path(root).resolve() == model.resolve():
            return served
    raise RunError(f"{url} serves {', '.join(roots) or 'nothing'}: {remedy}")


def _wait_healthy(process: subprocess.Popen[bytes], url: str, engine: Engine, log: Path) -> None:
    deadline = time.monotonic() + engine.start_seconds
    while True:
        try:
            if httpx.get(f"{url}/health", timeout=_HEALTH_SECONDS).status_code == 200:
                return
        except httpx.TransportError:
            pass
        if process.poll() is not None:
            raise RunError(f"the engine ended with status {process.returncode}:\n{_tail(log)}")
        if time.monotonic() > deadline:
            raise RunError(
                f"the engine was not ready in {engine.start_seconds} s (engine.start_seconds):\n"
                f"{_tail(log)}"
            )
        time.sleep(_POLL_SECONDS)


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    return "\n".join(f"  {line}" for line in lines[-_LOG_TAIL_LINES:])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
