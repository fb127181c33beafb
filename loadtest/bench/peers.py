"""The gateway and the proxies that it is compared with, each as a command."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from child_python import ROOT, python_command
from loadtest.free_port import free_port

Command = Callable[[str, int, Path], list[str]]
"""Makes a command from the engine's URL, the server's port, and a folder for its files."""


@dataclass(frozen=True)
class Peer:
    """A server under test.

    Attributes:
        load: its share of the usual load; a peer that is overloaded would only queue.
    """

    name: str
    command: Command
    load: float = 1.0


def gateway(engine: str, port: int, folder: Path) -> list[str]:
    """The command of the gateway with every feature on."""
    features = ["--router", str(ROOT / "models/demo/router.json"), "--holdout-share", "0.02"]
    features.append("--no-effort-canary")  # whose few questions belong to no load
    ledger = f"sqlite:///{folder}/ledger.db"
    flags = ["--port", str(port), "--upstream", engine, "--ledger", ledger]
    return python_command("tops", "serve", *flags, *features)


def proxy(kind: str) -> Command:
    """The command of a proxy of `loadtest.bench.proxies`."""
    return lambda engine, port, _: python_command("loadtest.bench.proxies", kind, engine, str(port))


def _nginx(engine: str, port: int, folder: Path) -> list[str]:
    config = folder / "nginx.conf"
    config.write_text(
        f"""daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log /dev/null;
        events {{ worker_connections 4096; }}
        http {{ access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/p;
          fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
          upstream engine {{ server {engine.removeprefix("http://")}; keepalive 64; }}
          server {{ listen 127.0.0.1:{port};
            location / {{ proxy_pass http://engine; proxy_http_version 1.1; proxy_buffering off;
              proxy_set_header Connection ""; }} }} }}"""
    )
    return ["nginx", "-c", str(config), "-p", str(folder)]


def vllm_router(path: str) -> Command:
    """The command of the vllm-router at `path`."""

    def command(engine: str, port: int, folder: Path) -> list[str]:  # noqa: ARG001
        ports = ["--port", str(port), "--prometheus-port", str(free_port())]
        flags = ["--host", "127.0.0.1", "--log-level", "error", "--worker-urls", engine]
        return [path, *ports, *flags]

    return command


def _litellm(path: str) -> Command:
    def command(engine: str, port: int, folder: Path) -> list[str]:
        settings = {"model": "openai/demo", "api_base": f"{engine}/v1", "api_key": "unused"}
        config = {
            "model_list": [{"model_name": "demo", "litellm_params": settings}],
            "general_settings": {"dangerously_permit_weak_or_unset_master_key": True},
        }
        (folder / "litellm.json").write_text(json.dumps(config))
        return [path, "--config", str(folder / "litellm.json"), "--port", str(port)]

    return command


def installed_peers(
    vllm_router_path: str | None, litellm_path: str | None
) -> tuple[list[Peer], list[str]]:
    """The peers that are installed, the gateway in front, and the versions of their libraries."""
    peers = [Peer("tops", gateway)]
    versions = [f"{name} {version(name)}" for name in ("aiohttp", "fastapi", "httpx", "uvicorn")]
    if shutil.which("nginx"):
        peers.append(Peer("nginx", _nginx))
    if vllm_router_path:
        peers.append(Peer("vllm-router", vllm_router(vllm_router_path)))
    peers += [
        Peer("raw ASGI + aiohttp", proxy("raw")),
        Peer("lean FastAPI + aiohttp", proxy("lean")),
        Peer("naive FastAPI + httpx", proxy("naive"), 0.5),
        Peer("the same, parsing events", proxy("parsing"), 0.5),
    ]
    if litellm_path:
        peers.append(Peer("LiteLLM proxy", _litellm(litellm_path), 0.05))
    return peers, versions
