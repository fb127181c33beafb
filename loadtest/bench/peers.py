"""What is measured: the gateway, its limits and its peers, each as a command on a port."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from child_python import python_command

ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True)
class Peer:
    """One of them; `command` makes its words from the engine's URL, a port and a scratch folder.

    `load` is the share of the usual load that it is given; a peer that is too slow for it would be
    measured while it drowns.
    """

    name: str
    command: Callable[[str, int, Path], list[str]]
    load: float = 1.0


def gateway(engine: str, port: int, scratch: Path) -> list[str]:
    """The command of the gateway with everything on."""
    everything = ["--router", str(ROOT / "models/demo/router.json"), "--holdout-share", "0.02"]
    ledger = f"sqlite:///{scratch}/ledger.db"
    words = ["serve", "--port", str(port), "--upstream", engine, "--ledger", ledger]
    return python_command("tops", *words, *everything)


def proxy(kind: str) -> Callable[[str, int, Path], list[str]]:
    """The command of one of `loadtest.bench.proxies`."""
    return lambda engine, port, _: python_command("loadtest.bench.proxies", kind, engine, str(port))


def _nginx(engine: str, port: int, scratch: Path) -> list[str]:
    config = scratch / "nginx.conf"
    config.write_text(
        f"""daemon off; worker_processes 1; pid {scratch}/nginx.pid; error_log /dev/null;
        events {{ worker_connections 4096; }}
        http {{ access_log off; client_body_temp_path {scratch}/body; proxy_temp_path {scratch}/p;
          fastcgi_temp_path {scratch}/f; uwsgi_temp_path {scratch}/u; scgi_temp_path {scratch}/s;
          upstream engine {{ server {engine.removeprefix("http://")}; keepalive 64; }}
          server {{ listen 127.0.0.1:{port};
            location / {{ proxy_pass http://engine; proxy_http_version 1.1; proxy_buffering off;
              proxy_set_header Connection ""; }} }} }}"""
    )
    return ["nginx", "-c", str(config), "-p", str(scratch)]


def router(path: str) -> Callable[[str, int, Path], list[str]]:
    """The command of vllm-router, which lies at a path."""

    def command(engine: str, port: int, scratch: Path) -> list[str]:  # noqa: ARG001
        words = ["--host", "127.0.0.1", "--port", str(port), "--prometheus-port", str(port + 1)]
        return [path, *words, "--log-level", "error", "--worker-urls", engine]

    return command


def _litellm(path: str) -> Callable[[str, int, Path], list[str]]:
    def command(engine: str, port: int, scratch: Path) -> list[str]:
        settings = {"model": "openai/demo", "api_base": f"{engine}/v1", "api_key": "unused"}
        config = {
            "model_list": [{"model_name": "demo", "litellm_params": settings}],
            "general_settings": {"dangerously_permit_weak_or_unset_master_key": True},
        }
        (scratch / "litellm.json").write_text(json.dumps(config))
        return [path, "--config", str(scratch / "litellm.json"), "--port", str(port)]

    return command


def peers(vllm_router: str | None, litellm: str | None) -> tuple[list[Peer], list[str]]:
    """Those that are here, and their versions in words; what is not installed is left out."""
    found = [Peer("tops", gateway)]
    versions = [f"{name} {version(name)}" for name in ("aiohttp", "fastapi", "httpx", "uvicorn")]
    if shutil.which("nginx"):
        found.append(Peer("nginx", _nginx))
    if vllm_router:
        found.append(Peer("vllm-router", router(vllm_router)))
    found += [
        Peer("raw ASGI + aiohttp", proxy("raw")),
        Peer("lean FastAPI + aiohttp", proxy("lean")),
        Peer("naive FastAPI + httpx", proxy("naive"), 0.5),
        Peer("the same, parsing events", proxy("parsing"), 0.5),
    ]
    if litellm:
        found.append(Peer("LiteLLM proxy", _litellm(litellm), 0.05))
    return found, versions
