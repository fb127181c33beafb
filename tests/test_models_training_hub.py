"""The exported folder goes to a hub, a local one here, with a card that the hub's library reads."""

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from paths import ROOT

from models.training.card import card
from models.training.hub import push
from models.training.recipe import Recipe
from models.training.recipe_file import RecipeError, read_recipe
from models.training.run import RunError, StageContext
from models.training.stages import stages_of

library: Any = pytest.importorskip("huggingface_hub", reason="needs the extra [train]")
constants: Any = pytest.importorskip("huggingface_hub.constants")

QWEN = ROOT / "models" / "recipes" / "qwen3-8b.toml"
HUB = "hub={repo='me/qwen3-8b-tops',license='apache-2.0'}"
REPORT: dict[str, Any] = {
    "problems": 3, "samples": 1, "temperature": 1.0, "policies": [], "comparisons": [],
}  # fmt: skip


class Hub(ThreadingHTTPServer):
    """As much of the hub's API as an upload of small files takes."""

    def __init__(self, refused: str = "") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.refused = refused
        self.denied = False
        self.branches = ["main"]
        self.created: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        self._answer(200, {"sha": "0" * 40, "siblings": [], "id": "me/qwen3-8b-tops"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"] or 0))
        hub, path = self.server, self.path.partition("?")[0]
        if path.endswith("/validate-yaml"):
            assert json.loads(body)["repoType"] == "model"
            self._answer(*((400, {"error": hub.refused}) if hub.refused else (200, {})))
        elif path.endswith("/repos/create"):
            hub.created.append(json.loads(body))
            self._answer(200, {"url": f"{hub.url}/me/qwen3-8b-tops"})
        elif hub.denied:
            self._answer(403, {"error": "not yours"})
        elif "/branch/" in path:
            hub.branches.append(path.rpartition("/")[2])
            self._answer(200, {})
        elif path.rpartition("/")[2] not in hub.branches:
            self._answer(404, {"error": "no such revision"})
        elif "/preupload/" in path:
            names = [file["path"] for file in json.loads(body)["files"]]
            modes = [{"path": name, "uploadMode": "regular"} for name in names]
            self._answer(200, {"files": [{**mode, "shouldIgnore": False} for mode in modes]})
        else:
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    content = base64.b64decode(entry["value"]["content"])
                    hub.files[entry["value"]["path"]] = content
            answer = {"commitUrl": f"{hub.url}/me/qwen3-8b-tops/commit/1", "commitOid": "1" * 40}
            self._answer(200, answer)

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Write nothing."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def context(tmp_path: Path, *settings: str) -> StageContext:
    recipe: Recipe = read_recipe(QWEN, [HUB, *settings])
    folder = tmp_path / "export" / "model"
    folder.mkdir(parents=True)
    (folder / "README.md").write_text(card(recipe, REPORT, "none", "sft"))
    (folder / "config.json").write_text("{}")
    (tmp_path / "push").mkdir()
    return StageContext(recipe, tmp_path / "push", {"export": tmp_path / "export"})


def test_the_folder_is_pushed_with_its_card(hub: Hub, tmp_path: Path) -> None:
    assert push(context(tmp_path)) == {"repo": "me/qwen3-8b-tops", "commit": "1" * 40}
    assert hub.created[0]["name"] == "qwen3-8b-tops"
    assert hub.created[0].get("visibility", "private") == "private"
    assert set(hub.files) == {"README.md", "config.json"}
    data = library.ModelCard(hub.files["README.md"].decode()).data.to_dict()
    assert data["license"] == "apache-2.0"
    assert data["base_model"] == "Qwen/Qwen3-8B"
    assert data["datasets"] == [
        "AI-MO/NuminaMath-1.5", "openai/gsm8k", "HuggingFaceH4/MATH-500", "HuggingFaceH4/aime_2024",
    ]  # fmt: skip
    assert (data["library_name"], data["pipeline_tag"]) == ("transformers", "text-generation")


def test_a_card_that_the_hub_refuses_is_not_pushed(hub: Hub, tmp_path: Path) -> None:
    hub.refused = '"license" must be one of'
    with pytest.raises(RunError, match=r"refuses the card .*must be one of"):
        push(context(tmp_path))
    assert not hub.created


def test_a_hub_that_is_away_ends_the_stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(RunError, match=r"did not take me/qwen3-8b-tops: (?!.*HF_TOKEN)"):
        push(context(tmp_path))


def test_a_token_that_may_not_write_is_named(hub: Hub, tmp_path: Path) -> None:
    hub.denied = True
    with pytest.raises(RunError, match=r"(?s)did not take me/qwen3-8b-tops: .*set HF_TOKEN"):
        push(context(tmp_path))


def test_a_revision_is_a_branch_that_is_made(hub: Hub, tmp_path: Path) -> None:
    push(context(tmp_path, "hub.revision=v2"))
    assert hub.branches == ["main", "v2"]
    assert "config.json" in hub.files


def test_the_stage_exists_where_the_recipe_names_a_repository() -> None:
    assert "push" not in stages_of(read_recipe(QWEN))
    assert list(stages_of(read_recipe(QWEN, [HUB])))[-1] == "push"
    with pytest.raises(RecipeError, match=r"hub.license"):
        read_recipe(QWEN, ["hub={repo='me/x'}"])
