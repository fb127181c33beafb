"""A checkpoint of Llama's architecture, written as GGUF, is the same model in llama.cpp."""

import sys
from pathlib import Path

import httpx
import pytest
from engines import DEMO, await_health, started
from polling import PATIENCE_SECONDS

pytest.importorskip("trl", reason="needs the extra [train]: make test-train")
pytest.importorskip("xllamacpp", reason="llama.cpp is not installed (extra llamacpp)")

import torch
import transformers

from models.training.conversion import convert
from models.training.gguf_file import ConversionError, write_gguf
from server.engines.supervisor import free_port

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
PROMPT = "Kim has 12 pens. Kim buys 30 more pens."
TOKENS = 12


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights, large enough that the likeliest token is far ahead of the others."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("llama")
    tokenizer = transformers.AutoTokenizer.from_pretrained(DEMO)
    tokenizer.save_pretrained(folder)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512,
        initializer_range=0.3, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id, tie_word_embeddings=True,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def test_llamacpp_continues_as_transformers_does(checkpoint: Path, tmp_path: Path) -> None:
    write_gguf(checkpoint, tmp_path / "model.gguf")
    write_gguf(checkpoint, tmp_path / "small.gguf", eight_bits=True)
    sizes = [(tmp_path / name).stat().st_size for name in ("small.gguf", "model.gguf")]
    assert sizes[0] < sizes[1]
    model = transformers.AutoModelForCausalLM.from_pretrained(checkpoint)
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    ids = tokenizer(PROMPT, add_special_tokens=False, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        whole = model.generate(ids, do_sample=False, max_new_tokens=TOKENS, min_new_tokens=TOKENS)
    expected = whole[0, ids.shape[1] :].tolist()
    port = free_port()
    command = [sys.executable, "-m", "server.llamacpp", "--model", str(tmp_path / "model.gguf")]
    with started([*command, "--port", str(port)]) as process:
        await_health(f"http://127.0.0.1:{port}", process, PATIENCE_SECONDS)
        body = {
            "prompt": ids[0].tolist(), "n_predict": TOKENS, "temperature": 0, "return_tokens": True,
            "ignore_eos": True,
        }  # fmt: skip
        answer = httpx.post(f"http://127.0.0.1:{port}/completion", json=body, timeout=60).json()
    assert answer["tokens"] == expected


def test_a_base_in_gguf_is_converted_for_the_embedded_engine(
    checkpoint: Path, tmp_path: Path
) -> None:
    write_gguf(checkpoint, tmp_path / "model.gguf")
    convert(tmp_path / "model.gguf", tmp_path / "model", "Stop.")
    assert (tmp_path / "model" / "ctranslate2" / "model.bin").is_file()
    read = transformers.AutoModelForCausalLM.from_pretrained
    expected, found = (read(folder).state_dict() for folder in (checkpoint, tmp_path / "model"))
    assert all(torch.equal(weights, found[name]) for name, weights in expected.items())
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")
    assert tokenizer.chat_template == (checkpoint / "chat_template.jinja").read_text()


def test_other_architectures_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    config = (checkpoint / "config.json").read_text()
    for file in checkpoint.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "config.json").write_text(config.replace("LlamaFor", "OtherFor"))
    with pytest.raises(ConversionError, match=r"none of Qwen3ForCausalLM, LlamaForCausalLM"):
        write_gguf(tmp_path, tmp_path / "model.gguf")
