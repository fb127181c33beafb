"""A llama.cpp that comes up after the gateway: the efforts of its template, without a restart."""

import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from engines import DEMO, running
from polling import until
from processes import serving

from server.config.load_settings import load_settings
from server.config.served_template import ServedTemplate
from server.engines.supervisor import free_port

DEMO_TEMPLATE = (DEMO / "chat_template.jinja").read_text()
SWITCH_TEMPLATE = (
    "{% for m in messages %}{{ m.content }}{{ m.reasoning_content }}{% endfor %}"
    "{% if enable_thinking %}<think>\n{% else %}<think></think>{% endif %}"
)


@contextmanager
def following(condition: Any, template: Path, port: int) -> Generator[None]:
    """A llama.cpp with the demo's weights, started once the condition holds."""
    over = threading.Event()

    def run() -> None:
        until(condition)
        with running("llama.cpp", "--chat-template", str(template), port=port):
            over.wait()

    with ThreadPoolExecutor(1) as executor:
        engine = executor.submit(run)
        try:
            yield
        finally:
            over.set()
    engine.result()


def answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.slow
def test_the_efforts_follow_the_engine_that_is_there(tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp", reason="llama.cpp is not installed (extra llamacpp)")
    switch, words = tmp_path / "switch.jinja", tmp_path / "words.jinja"
    switch.write_text(SWITCH_TEMPLATE)
    words.write_text(DEMO_TEMPLATE)
    port, engine_port = free_port(), free_port()
    url = f"http://127.0.0.1:{port}"
    flags = ["--port", str(port), "--upstream", f"http://127.0.0.1:{engine_port}"]

    def efforts() -> list[str]:
        return httpx.get(f"{url}/ready").json()["efforts"]

    def has_efforts(*expected: str) -> bool:
        return efforts() == [*expected]

    with ExitStack() as first:
        first.enter_context(following(lambda: answers(f"{url}/health"), switch, engine_port))
        with serving(*flags, "--dialect", "llama.cpp") as server:
            assert server.logged("cannot be read yet")
            assert efforts() == ["none", "high"]
            body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3}
            body["reasoning_effort"] = "low"
            answer = httpx.post(f"{url}/v1/chat/completions", json=body)
            assert answer.headers["x-tops-effort"] == "high"
            (card,) = httpx.get(f"{url}/v1/models").json()["data"]
            assert card["efforts"] == ["none", "high"]
            first.close()
            until(lambda: not answers(f"{url}/ready"))  # an engine that is away is noticed
            with running("llama.cpp", "--chat-template", str(words), port=engine_port):
                until(lambda: has_efforts("none", "low", "medium", "high"))


@pytest.mark.unit
def test_a_template_is_adopted_once_and_only_where_it_fits() -> None:
    flags = {"upstream": "http://127.0.0.1:9", "dialect": "llama.cpp"}
    settings = load_settings(flags)
    adopted: list[Any] = []
    template = ServedTemplate(settings, None, lambda *changed: adopted.append(changed))
    template.read("{{ messages[0].nonsense.more }}")
    template.read(SWITCH_TEMPLATE)
    template.read(SWITCH_TEMPLATE)
    ((changed, router, dialect),) = adopted
    assert changed.offered_efforts == ("none", "high") == router.efforts
    assert router.baseline == "high"
    body: dict[str, Any] = {}
    dialect.apply(body, "none", None)
    assert body["chat_template_kwargs"]["enable_thinking"] is False
    template.read(DEMO_TEMPLATE)
    assert [change[0].offered_efforts for change in adopted] == [
        ("none", "high"),
        ("none", "low", "medium", "high"),
    ]
    only_low = load_settings({**flags, "baseline_effort": "low"})
    ServedTemplate(only_low, None, lambda *changed: adopted.append(changed)).read(SWITCH_TEMPLATE)
    assert len(adopted) == 2
