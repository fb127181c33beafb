"""An engine that serves a checkpoint on loopback while a stage generates from it."""

import os
import socket
import subprocess
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

from child_python import python_command
from models.outcomes.client import GenerateError
from models.outcomes.engines import say_left_out
from models.training.recipe import Recipe
from models.training.recipe_engine import Engine, Teacher
from models.training.run import RunError
from models.training.worker_process import worker_process

MODEL = "trained"
"""The name that the model is served under."""

_LOG_TAIL_LINES = 15
_MODELS_SECONDS = 10
_HEALTH_SECONDS = 5
_POLL_SECONDS = 0.2
_ENDING_SECONDS = 1.0


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
        yield served_names([url.rstrip("/") for url in engine.urls], model)
        return
    folder.mkdir(parents=True, exist_ok=True)
    command = _command(recipe, model, folder)
    with started(engine, command, MODEL, folder) as urls:
        yield dict.fromkeys(urls, MODEL)


@contextmanager
def teaching(engine: Engine, teacher: Teacher, folder: Path) -> Generator[list[str]]:
    """The base URLs (with /v1) of a seed's teacher: its own, or those of engines started for it.

    Raises:
        RunError: see `started`.
    """
    if teacher.url is not None:
        yield [teacher.url.rstrip("/")]
        return
    folder.mkdir(parents=True, exist_ok=True)
    command = vllm_command(engine, teacher.model)
    flagged = engine.model_copy(update={"flags": teacher.flags})
    with started(flagged, command, teacher.model, folder) as urls:
        yield urls


@contextmanager
def started(
    engine: Engine, command: Sequence[str], name: str, folder: Path
) -> Generator[list[str]]:
    """The base URLs (with /v1) of `engine.replicas` engines, which end with the block.

    Args:
        engine: the recipe's table.
        command: of one engine, without address, name and the recipe's flags.
        name: that the model is served under.
        folder: for the engines' logs.

    Raises:
        RunError: an engine does not start, or there are too few GPUs for the replicas, or the block
            failed and an engine had ended; the message has the end of its log.
    """
    devices = replica_devices(engine, os.environ.get("CUDA_VISIBLE_DEVICES"))
    with ExitStack() as stack:
        running: list[tuple[subprocess.Popen[bytes], str, Path]] = []
        for number, (variables, port) in enumerate(
            zip(devices, _free_ports(len(devices)), strict=True), 1
        ):
            address = ["--host", "127.0.0.1", "--port", str(port), "--served-model-name", name]
            log = folder / ("engine.log" if number == 1 else f"engine-{number}.log")
            process = stack.enter_context(
                worker_process([*command, *address, *engine.flags], log, variables=variables)
            )
            running.append((process, f"http://127.0.0.1:{port}", log))
        for process, url, log in running:  # all of them load at once
            _wait_healthy(process, url, engine, log)
        try:
            yield [f"{url}/v1" for _, url, _ in running]
        except GenerateError as error:
            for process, _, log in running:
                if status := _status_after(process, _ENDING_SECONDS):
                    raise RunError(
                        f"{error}; the engine ended with status {status}:\n{_tail(log)}"
                    ) from error
            raise


def replica_devices(engine: Engine, visible: str | None) -> list[dict[str, str]]:
    """The environment variables by which each replica gets GPUs of its own.

    Args:
        engine: the recipe's table.
        visible: CUDA_VISIBLE_DEVICES; None where all GPUs of the machine are visible.

    Raises:
        RunError: it has too few of them.
    """
    if engine.kind != "vllm" or engine.replicas == 1:
        return [{} for _ in range(engine.replicas)]
    needed = engine.replicas * engine.gpus_each
    gpus = [str(number) for number in range(needed)] if visible is None else visible.split(",")
    if len(gpus) < needed:
        raise RunError(
            f"{engine.replicas} replicas of {engine.gpus_each} GPUs (engine.replicas, "
            f"engine.gpus_each) need {needed}, and CUDA_VISIBLE_DEVICES has {len(gpus)}"
        )
    return [
        {"CUDA_VISIBLE_DEVICES": ",".join(gpus[first : first + engine.gpus_each])}
        for first in range(0, needed, engine.gpus_each)
    ]


def _command(recipe: Recipe, model: Path, folder: Path) -> list[str]:
    """The engine's command, after the model is converted to what it reads."""
    engine = recipe.engine
    if engine.kind == "vllm":
        return vllm_command(engine, str(model))
    from models.training.conversion import convert, convert_to_gguf  # noqa: PLC0415 - loads torch

    if engine.kind == "embedded":
        convert(model, folder / "model", recipe.model.transition)
        return python_command("server.embedded", "--model", str(folder / "model"))
    file = model if model.suffix == ".gguf" else folder / "model.gguf"
    convert_to_gguf(model, file)
    slots_each = -(-engine.concurrency // engine.replicas)
    slots = ["--slots", str(slots_each), "--context", str(engine.context)]
    transition = ["--transition", recipe.model.transition.strip()]
    return python_command("server.llamacpp", "--model", str(file), *slots, *transition)


def vllm_command(engine: Engine, model: str) -> list[str]:
    """The command of a vLLM server of `model`, a folder or a name of the hub."""
    return [engine.python, "-m", "vllm.entrypoints.openai.api_server", "--model", model]


class _DownError(RunError):
    """An engine does not answer, or says that it cannot serve."""


def served_names(urls: Sequence[str], model: Path) -> dict[str, str]:
    """The name of `model` by URL, of the engines that answer; the others are said to be left out.

    Raises:
        RunError: no engine answers, or one serves another model.
    """
    names: dict[str, str] = {}
    down: list[_DownError] = []
    for url in urls:
        try:
            names[url] = _served_name(url, model)
        except _DownError as error:
            down.append(error)
    if not names:
        raise down[0]
    for error in down:
        say_left_out(error, len(names))
    return names


def _served_name(url: str, model: Path) -> str:
    """The name of `model` at `url`. Each stage has a model of its own, so the engine must tell it.

    vLLM lists the folder; other engines list a name only, which must then be the stage's.

    Raises:
        RunError: it serves another model, or does not list its models; a `_DownError` if it does
            not answer at all, or with a status of 5xx.
    """
    name = f"{MODEL}-{model.parent.name}"
    remedy = (
        f"serve {model} there under the name {name} (vLLM, SGLang: --served-model-name, llama.cpp: "
        "--alias), then run this again"
    )
    try:
        response = httpx.get(f"{url}/models", timeout=_MODELS_SECONDS)
        if response.is_server_error:
            response.raise_for_status()
        roots = {str(entry["id"]): entry.get("root") for entry in response.json()["data"]}
    except (httpx.TransportError, httpx.HTTPStatusError) as error:
        raise _DownError(f"{url} does not list its models ({error}): {remedy}") from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise RunError(f"{url} does not list its models: {remedy}") from error
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


def _status_after(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    return "\n".join(f"  {line}" for line in lines[-_LOG_TAIL_LINES:])


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
