"""The command of the engine that the gateway starts if no upstream is set."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from child_python import path_variables, python_command
from server.config.load_settings import SettingsError
from server.config.reasoning_config import read_reasoning_config
from server.config.settings import Settings
from server.engines.continuing.prefix import TRANSITION
from server.engines.supervisor import free_port
from server.llamacpp.failures import explain_failure
from server.llamacpp.gguf import GgufError, GgufFile, read_gguf
from server.llamacpp.plan import Plan, available_memory, plan

_EMBEDDED_WORKERS = 2
_LLAMA_CPP_PACKAGE = "xllamacpp>=2026.10,<2027"
_TRANSITION_FIELD = "tops.transition"
_PYTHON_SECONDS = 20
_VLLM_PYTHON = (
    "pass as --engine-python the Python of an environment with vllm (make vllm sets one up in "
    ".venv-vllm)"
)
_PART = re.compile(r"-\d{5}-of-\d{5}$")


@dataclass(frozen=True)
class EngineCommand:
    """An engine to start.

    Args:
        url: without /v1.
        model: its name there.
        command: the program and its arguments.
        explain: see `Supervisor`.
        transition: the sentence with which it ends thinking at a budget; empty if not known.
    """

    url: str
    model: str
    command: list[str]
    explain: Callable[[int | str, str], str | None] | None = None
    transition: str = ""


def check_engine_command(settings: Settings) -> None:
    """Check that the engine of the settings is installed, and its checkpoint's configuration.

    Raises:
        SettingsError: it is not; the message says what to do.
        GgufError: llama.cpp cannot serve the file.
    """
    if settings.upstream:
        return
    if settings.engine == "llama.cpp":
        _check_llama_cpp(settings)
        return
    if settings.folder is not None:
        read_reasoning_config(settings.folder)
    if settings.engine == "vllm":
        python = str(settings.engine_python)
        if shutil.which(python) is None:
            raise SettingsError(f"there is no {python}: {_VLLM_PYTHON}")
        if _lacks_vllm(python):
            raise SettingsError(f"vllm is not installed for {python}: {_VLLM_PYTHON}")
    elif not (settings.checkpoint / "ctranslate2").is_dir():
        raise SettingsError(
            f"{settings.checkpoint} is no checkpoint folder with CTranslate2 weights: pass another "
            "--checkpoint, or --upstream URL of an engine that runs already"
        )


def _lacks_vllm(python: str) -> bool:
    """Whether an interpreter says that it has no vllm; what cannot be told shows at its start."""
    program = "import importlib.util; print(importlib.util.find_spec('vllm') is None)"
    try:
        output = subprocess.run(  # noqa: S603 - the interpreter that the user names
            [python, "-c", program],
            env={**os.environ, **path_variables()},
            capture_output=True,
            check=False,
            timeout=_PYTHON_SECONDS,
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return False
    return output.strip() == b"True"


def engine_command(settings: Settings) -> EngineCommand:
    """The command that starts the engine of the settings on a free loopback port."""
    port = free_port()
    if settings.engine == "llama.cpp":
        return _llama_cpp_command(settings, port)
    if settings.engine == "embedded":
        model = settings.model or settings.checkpoint.name
        options = {
            "model": settings.checkpoint,
            "served-model-name": model,
            "port": port,
            "workers": settings.engine_workers or _EMBEDDED_WORKERS,
        }
        command = python_command("server.embedded", *_flags(options), "--exit-with-parent")
    else:
        source = settings.model or str(settings.checkpoint)
        model = Path(source).name if settings.folder else source
        closing = {"reasoning_start_str": "<think>", "reasoning_end_str": f"{TRANSITION}\n</think>"}
        if settings.folder is not None:
            closing = read_reasoning_config(settings.folder) or closing
        options = {
            "model": source,
            "served-model-name": model,
            "host": "127.0.0.1",
            "port": port,
            "reasoning-parser": settings.reasoning_parser,
            "reasoning-config": json.dumps(closing),
        }
        server = [str(settings.engine_python), "-m", "vllm.entrypoints.openai.api_server"]
        command = python_command("server.engines.die_with_parent", *server, *_flags(options))
        command += settings.engine_flags
    return EngineCommand(f"http://127.0.0.1:{port}", model, command)


def _check_llama_cpp(settings: Settings) -> None:
    """Check what can be told of a GGUF file before it is loaded.

    Raises:
        SettingsError: llama.cpp is not installed, or the chat template cannot be used.
        GgufError: the file cannot be served.
    """
    from jinja2 import TemplateError  # noqa: PLC0415 - which other engines do without

    from server.chat_templates.compiling import compile_template  # noqa: PLC0415 - as above

    file = read_gguf(Path(str(settings.model)))
    if importlib.util.find_spec("xllamacpp") is None:
        raise SettingsError(
            "llama.cpp is not installed, which serves .gguf files: pip install "
            f"'{_LLAMA_CPP_PACKAGE}'"
        )
    template = file.chat_template
    if settings.chat_template is not None:
        try:
            template = settings.chat_template.read_text(encoding="utf-8-sig")
        except (OSError, ValueError) as error:
            raise SettingsError(f"chat_template {settings.chat_template}: {error}") from error
    if template is None:
        raise GgufError(
            f"{file.path} has no chat template, as models have that are not made for chats: take "
            "an instruct model, or pass its template as --chat-template FILE"
        )
    try:
        compile_template(template)
    except TemplateError as error:
        source = settings.chat_template or file.path
        raise GgufError(
            f"the chat template of {source} cannot be used ({error}): pass another as "
            "--chat-template FILE"
        ) from error
    _llama_cpp_plan(settings, file)


def _llama_cpp_plan(settings: Settings, file: GgufFile) -> Plan:
    workers, context = settings.engine_workers, settings.engine_context
    return plan(file, settings.engine_threads, workers, context, available_memory())


def _llama_cpp_command(settings: Settings, port: int) -> EngineCommand:
    file = read_gguf(Path(str(settings.model)))
    chosen = _llama_cpp_plan(settings, file)
    name = _PART.sub("", file.path.stem)
    transition = str(file.fields.get(_TRANSITION_FIELD) or f"{TRANSITION}\n")
    options: dict[str, object] = {
        "model": file.path,
        "served-model-name": name,
        "port": port,
        "threads": chosen.threads,
        "slots": chosen.slots,
        "context": chosen.context,
        "prompt-cache": chosen.prompt_cache,
        "transition": transition,
    }
    if settings.chat_template is not None:
        options["chat-template"] = settings.chat_template
    command = python_command("server.llamacpp", *_flags(options), "--exit-with-parent")
    explain = partial(explain_failure, file.path)
    return EngineCommand(f"http://127.0.0.1:{port}", name, command, explain, transition)


def _flags(options: Mapping[str, object]) -> list[str]:
    return [word for name, value in options.items() for word in (f"--{name}", str(value))]
