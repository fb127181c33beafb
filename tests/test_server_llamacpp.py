"""GGUF files, and llama.cpp as an engine that the gateway starts."""

import json
import re
import struct
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import gguf
import httpx
import pytest
from engines import demo_gguf
from paths import ROOT
from processes import run_tops, serving

from server.config.engine_command import check_engine_command, engine_command
from server.config.load_settings import SettingsError, load_settings
from server.config.model_template import template_efforts, with_template
from server.config.settings import Settings
from server.llamacpp.failures import explain_failure
from server.llamacpp.gguf import GgufError, read_gguf
from server.llamacpp.plan import available_memory, plan, usable_cores

TEMPLATE = "{% for m in messages %}{{ m.content }}{% endfor %}"


def write(
    file: Path, architecture: str = "llama", template: str | None = TEMPLATE, **fields: Any
) -> Path:
    writer = gguf.GGUFWriter(file, architecture)
    writer.add_context_length(4096)
    writer.add_embedding_length(64)
    writer.add_block_count(2)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_token_list(["a", "b\u2581", "c"])
    writer.add_token_scores([0.0, 1.0, 2.0])
    if template is not None:
        writer.add_chat_template(template)
    for name, value in fields.items():
        writer.add_key_value(name.replace("_", ".", 1), value, gguf.GGUFValueType.UINT16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return file


@pytest.mark.unit
def test_what_a_file_says_of_itself(tmp_path: Path) -> None:
    file = read_gguf(write(tmp_path / "m.gguf"))
    assert (file.architecture, file.context, file.chat_template) == ("llama", 4096, TEMPLATE)
    assert file.fields["tokenizer.ggml.tokens"] == 3
    assert file.size == (tmp_path / "m.gguf").stat().st_size
    assert file.cache_bytes(10) == 2 * 10 * 2 * 2 * (16 + 16)  # layers, heads, keys and values


@pytest.mark.unit
@pytest.mark.parametrize("end", [4, 10, 40, 200, -1])
def test_a_file_that_ends_early_is_damaged(tmp_path: Path, end: int) -> None:
    whole = write(tmp_path / "whole.gguf").read_bytes()
    (tmp_path / "m.gguf").write_bytes(whole[:end])
    with pytest.raises(GgufError, match="damaged or incomplete: download or convert it again"):
        read_gguf(tmp_path / "m.gguf")


@pytest.mark.unit
@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "is empty: download"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS"),
        (b"<!DOCTYPE html>", "is no GGUF file: convert"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "version 1 of the GGUF format"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**60), "damaged"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**63), "damaged"),
        (b"GGUF" + struct.pack("<IQQQ1sI", 3, 0, 1, 1, b"k", 99), "damaged"),
        (b"GGUF" + struct.pack("<IQQQ1sIIQ", 3, 0, 1, 1, b"k", 9, 8, 2**62), "damaged"),
    ],
)
def test_files_that_are_something_else(tmp_path: Path, raw: bytes, message: str) -> None:
    (tmp_path / "m.gguf").write_bytes(raw)
    with pytest.raises(GgufError, match=message):
        read_gguf(tmp_path / "m.gguf")


@pytest.mark.unit
def test_no_file_a_folder_and_no_language_model(tmp_path: Path) -> None:
    with pytest.raises(GgufError, match="there is no file"):
        read_gguf(tmp_path / "m.gguf")
    (tmp_path / "f.gguf").mkdir()
    with pytest.raises(GgufError, match="is a folder"):
        read_gguf(tmp_path / "f.gguf")
    writer = gguf.GGUFWriter(tmp_path / "a.gguf", "llama")
    writer.add_type("adapter")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(GgufError, match="of type adapter"):
        read_gguf(tmp_path / "a.gguf")


@pytest.mark.unit
def test_parts_of_a_model(tmp_path: Path) -> None:
    names = [f"m-{number:05d}-of-00003.gguf" for number in (1, 2, 3)]
    first = write(tmp_path / names[0], split_no=0, split_count=3)
    with pytest.raises(GgufError, match=f"missing .*, 2 of 3: download {names[1]}, {names[2]}"):
        read_gguf(first)
    for number in (1, 2):
        write(tmp_path / names[number], split_no=number, split_count=3)
    assert read_gguf(first).size == sum((tmp_path / name).stat().st_size for name in names)
    (tmp_path / names[2]).write_bytes(b"GGUF")
    with pytest.raises(GgufError, match=f"{names[2]} is damaged or incomplete"):
        read_gguf(first)
    with pytest.raises(GgufError, match=f"part 2 of 3: give {names[0]}"):
        read_gguf(tmp_path / names[1])
    other = first.rename(tmp_path / "renamed.gguf")
    with pytest.raises(GgufError, match="give every part its name as published"):
        read_gguf(other)


@pytest.mark.unit
def test_what_fits_into_the_memory(tmp_path: Path) -> None:
    model = read_gguf(write(tmp_path / "m.gguf"))
    roomy = plan(model, None, None, None, 2**40)
    assert (roomy.slots, roomy.context, roomy.prompt_cache) == (8, 4096, 2048)
    assert roomy.threads == max(1, usable_cores() - 1)
    assert plan(model, 3, 2, 77, None).context == 77
    per_token = model.cache_bytes(1)
    scarce = 2**28 + model.size + 4 * 3000 * per_token
    tight = plan(model, None, None, None, scarce)
    assert (tight.slots, tight.context) == (4, 2048)
    for context, memory in ((None, 2**28), (100_000, scarce)):
        with pytest.raises(GgufError, match=r"does not fit into .* smaller --engine-context"):
            plan(model, None, None, context, memory)
    memory = available_memory()
    assert memory is None or memory > 0


@pytest.mark.unit
@pytest.mark.parametrize(
    ("status", "output", "message"),
    [
        (1, "E error loading model: unknown model architecture: 'new'", "architecture 'new' of"),
        (1, "unknown pre-tokenizer type: 'odd'", "tokenizer 'odd' of"),
        (1, "mmap failed: Cannot allocate memory", "does not fit into the memory"),
        (-9, "", "does not fit into the memory"),
        (1, "tensor 'x' data is not within the file bounds, model is corrupted", "is damaged"),
        (1, "missing tensor 'output.weight'\nmore", r"\(missing tensor 'output.weight'\)"),
        (
            1,
            "E error loading model: error loading model vocabulary: cannot find tokenizer \n\nE x",
            r"cannot load m.gguf \(cannot find tokenizer\): download or convert it again",
        ),
    ],
)
def test_why_a_model_was_not_loaded(status: int, output: str, message: str) -> None:
    assert re.search(message, explain_failure(Path("m.gguf"), status, output) or "")
    assert explain_failure(Path("m.gguf"), 1, "something new") is None


def loaded(**flags: Any) -> Settings:
    return load_settings(flags)


@pytest.mark.unit
def test_a_gguf_file_is_served_by_llama_cpp(tmp_path: Path) -> None:
    file = write(tmp_path / "small-q4.gguf")
    settings = loaded(model=str(file), engine_workers="3", engine_context="128")
    assert (settings.engine, settings.dialect, settings.folder) == ("llama.cpp", "llama.cpp", None)
    check_engine_command(settings)
    engine = engine_command(settings)
    assert engine.model == "small-q4"
    words = engine.command
    assert [words[words.index(flag) + 1] for flag in ("--slots", "--context")] == ["3", "128"]
    upstream = loaded(model=str(file), upstream=["http://127.0.0.1:9/v1"])
    assert (upstream.engine, upstream.dialect) == ("embedded", "vllm")


@pytest.mark.unit
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"engine": "llama.cpp"}, "set model to a .gguf file"),
        ({"engine": "llama.cpp", "model": "Qwen/Qwen3-8B"}, "set model to a .gguf file"),
        ({"model": "m.gguf", "dialect": "sglang"}, "does not speak dialect sglang"),
        ({"engine_threads": "2"}, "engine_threads is for engine llama.cpp"),
        ({"engine": "llama.cpp", "model": "m.gguf", "upstream": ["http://x/v1"]}, "exclude each"),
    ],
)
def test_settings_that_contradict_the_engine(flags: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        loaded(**flags)


@pytest.mark.unit
def test_efforts_follow_the_template_unless_they_are_set(tmp_path: Path) -> None:
    switch = "{{ messages[0].content }}{% if enable_thinking is false %}<think></think>{% endif %}"
    path = str(write(tmp_path / "m.gguf", template=switch))
    settings = loaded(model=path)
    chosen = with_template(settings, template_efforts(settings))
    assert (chosen.efforts, chosen.baseline_effort) == (("none", "high"), "high")
    settings = loaded(model=path, efforts="low,high")
    assert with_template(settings, template_efforts(settings)).efforts == ("low", "high")
    settings = loaded(model=path, baseline_effort="medium")
    with pytest.raises(SettingsError, match=r"'medium' is none of .*: none, high"):
        with_template(settings, template_efforts(settings))
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "tokenizer_config.json").write_text('{"chat_template": "{{ messages }}"}')
    plain = template_efforts(loaded(engine="vllm", model=str(folder)))
    assert plain is not None
    assert plain.efforts == ("none",)


@pytest.mark.unit
def test_efforts_of_a_llama_cpp_that_runs_already() -> None:
    class Props(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            raw = json.dumps({"chat_template": "{{ messages[0].content }}<think>\n"}).encode()
            is_known = self.path == "/props" and self.headers["authorization"] == "Bearer k"
            self.send_response(200 if is_known else 404)
            self.end_headers()
            self.wfile.write(raw if is_known else b"{}")

        def log_message(self, *_: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Props) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/v1"
        flags: dict[str, Any] = {"dialect": "llama.cpp", "upstream_api_key": "k"}
        settings = loaded(upstream=[url], **flags)
        chosen = with_template(settings, template_efforts(settings))
        assert (chosen.efforts, chosen.baseline_effort) == (("high",), "high")
        assert template_efforts(loaded(upstream=[url])) is None  # vLLM shows no template
        server.shutdown()
    silent = loaded(upstream=[url], **flags)
    assert with_template(silent, template_efforts(silent)) is silent


@pytest.mark.unit
def test_only_settings_that_were_given_count_as_set() -> None:
    assert loaded(port="0").model_fields_set == {"port"}


@pytest.mark.unit
def test_a_file_without_a_usable_template_is_refused(tmp_path: Path) -> None:
    for template in (None, "{% if %}"):
        file = write(tmp_path / "m.gguf", template=template)
        with pytest.raises(GgufError, match="--chat-template FILE"):
            check_engine_command(loaded(model=str(file)))
        (tmp_path / "t.jinja").write_text(TEMPLATE)
        check_engine_command(loaded(model=str(file), chat_template=str(tmp_path / "t.jinja")))
    with pytest.raises(SettingsError, match=r"chat_template .*none"):
        check_engine_command(loaded(model=str(file), chat_template=str(tmp_path / "none")))


@pytest.mark.unit
def test_an_installation_without_llama_cpp_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (package,) = extras["optional-dependencies"]["llamacpp"]
    with pytest.raises(SettingsError, match=re.escape(f"pip install '{package}'")):
        check_engine_command(loaded(model=str(write(tmp_path / "m.gguf"))))


@pytest.mark.slow
def test_an_unknown_architecture_ends_the_command_with_a_sentence(tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp", reason="llama.cpp is not installed (extra llamacpp)")
    file = write(tmp_path / "m.gguf", architecture="newest")
    ended = run_tops("serve", "--port", "0", "--ledger", "", "--model", str(file))
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == (
        "Error: llama.cpp does not know the architecture 'newest' of m.gguf: update llama.cpp "
        "(pip install --upgrade xllamacpp), or take another model"
    )


@pytest.mark.slow
def test_tops_serve_starts_llama_cpp_with_the_model_s_efforts() -> None:
    pytest.importorskip("xllamacpp", reason="llama.cpp is not installed (extra llamacpp)")
    router = str(ROOT / "models" / "demo" / "router.json")
    with serving("--model", str(demo_gguf()), "--router", router) as server:
        assert server.logged('"efforts":"none, low, medium, high"', 0)
        ready = httpx.get(f"{server.url}/ready").json()
        assert (ready["model"], ready["budgets"], ready["router"]) == ("demo", "native", "fitted")
        story = "Ben has 40 coins. Ben finds 61 coins. Ben loses 17 coins. How many coins now?"
        for budget in (400, 20, 1, 0):
            body = {"messages": [{"role": "user", "content": story}], "reasoning_effort": "high"}
            body |= {"thinking_token_budget": budget, "temperature": 0}
            answer = httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=60).json()
            assert answer["tops"]["thinking_tokens"] <= budget
            message = answer["choices"][0]["message"]
            assert message["content"].startswith("The answer is ")
            cut = "Time is up, so I answer" in message.get("reasoning_content", "")
            assert cut is (0 < budget < 100)
