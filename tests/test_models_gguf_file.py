"""A checkpoint's GGUF file: the template, the defaults and the transition of its folder."""

import json
from pathlib import Path

import pytest
from paths import ROOT

from models.training.gguf_file import write_gguf
from server.llamacpp.gguf import read_gguf

DEMO = ROOT / "models" / "demo"


def test_a_file_has_the_template_the_defaults_and_the_transition_of_its_folder(
    tmp_path: Path,
) -> None:
    write_gguf(DEMO, tmp_path / "demo.gguf")
    file = read_gguf(tmp_path / "demo.gguf")
    defaults = json.loads((DEMO / "generation_config.json").read_text())
    config = json.loads((DEMO / "config.json").read_text())
    assert file.chat_template == (DEMO / "chat_template.jinja").read_text()
    assert file.context == config["max_position_embeddings"]
    for name, field in (("temp", "temperature"), ("top_p", "top_p")):
        assert file.fields[f"general.sampling.{name}"] == pytest.approx(defaults[field])
    assert file.fields["general.sampling.top_k"] == defaults.get("top_k", 0)
    assert file.fields["general.sampling.min_p"] == 0  # llama.cpp's own default is 0.05
    closing = json.loads((DEMO / "reasoning_config.json").read_text())["reasoning_end_str"]
    assert closing == f"{file.fields['tops.transition']}</think>"
