"""The command of the engine that the gateway starts if no upstream is set."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from child_python import python_command
from server.config.load_settings import SettingsError
from server.config.reasoning_config import read_reasoning_config
from server.config.settings import Settings
from server.engines.continuation import TRANSITION
from server.engines.supervisor import free_port


@dataclass(frozen=True)
class EngineCommand:
    """An engine to start: the URL without /v1, its model's name there, and the command."""

    url: str
    model: str
    command: list[str]


def check_engine_command(settings: Settings) -> None:
    """Check that the engine of the settings is installed, and its checkpoint's configuration.

    Raises:
        SettingsError: it is not; the message says what to do.
    """
    if settings.upstream:
        return
    if settings.folder is not None:
        read_reasoning_config(settings.folder)
    if settings.engine == "vllm":
        if shutil.which(str(settings.engine_python)) is None:
            raise SettingsError(
                f"there is no {settings.engine_python}: pass as --engine-python the Python of an "
                "environment with vllm (make vllm sets one up in .venv-vllm)"
            )
    elif not (settings.checkpoint / "ctranslate2").is_dir():
        raise SettingsError(
            f"{settings.checkpoint} is no checkpoint folder with CTranslate2 weights: pass another "
            "--checkpoint, or --upstream URL of an engine that runs already"
        )


def engine_command(settings: Settings) -> EngineCommand:
    """The command that starts the engine of the settings on a free loopback port."""
    port = free_port()
    if settings.engine == "embedded":
        model = settings.model or settings.checkpoint.name
        options = {
            "model": settings.checkpoint,
            "served-model-name": model,
            "port": port,
            "workers": settings.engine_workers,
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


def _flags(options: Mapping[str, object]) -> list[str]:
    return [word for name, value in options.items() for word in (f"--{name}", str(value))]
