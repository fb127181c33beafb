"""Reasoning blocks that the model opens itself, and tags of several tokens, on a real engine."""

import importlib
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx
import pytest
import smollm2
from engines import await_health, started
from polling import PATIENCE_SECONDS

from server.embedded.reasoning_tags import TagReader
from server.engines.supervisor import free_port

PROMPT = "How many?"
REASONING = "Two > one, and 3 </ 4: they are\nfive of 2.5"
ANSWER = "It is <think> 5."


def told(words: list[str], in_reasoning: bool = False, is_special: bool = False) -> str:
    """T for a token of the reasoning, / of a tag, A of the answer."""
    reader = TagReader("<think>", "</think>", in_reasoning, words.__getitem__, is_special)
    steps = [step for number in range(len(words)) for step in reader.read(number, 0.0)]
    steps += reader.flush()
    assert [step.token for step in steps] == list(range(len(words)))
    return "".join({"thinking": "T", "tag": "/", "answer": "A"}[step.block] for step in steps)


@pytest.mark.unit
@pytest.mark.parametrize(
    ("words", "in_reasoning", "blocks"),
    [
        (["<", "think", ">", "\n", "a", "</", "think", ">\n\n", "b"], False, "///TT///A"),
        (["a", " >", " b", "</", "b", "</", "think", ">", "c"], True, "TTTTT///A"),
        (["\n", "<", "think", ">", "a"], False, "A///T"),
        (["so", "<", "think", ">", "a"], False, "AAAAA"),  # an answer about tags
        (["a", "</", "think"], True, "TTT"),  # cut off
        (["<", "b", "<thi", "nk>", "a"], False, "AAAAA"),
        (["<<", "think", ">", "a"], False, "///T"),
    ],
)
def test_tags_of_several_tokens(words: list[str], in_reasoning: bool, blocks: str) -> None:
    assert told(words, in_reasoning) == blocks


@pytest.mark.unit
def test_tags_that_are_tokens_are_not_found_in_text() -> None:
    words = ["<think>", "<", "/think>", "a", "</think>", "<", "think>", "<think>", "b"]
    assert told(words, is_special=True) == "/TTT/AA/T"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """An engine with SmolLM2's tokenizer and a small model that has learnt one answer by heart."""
    tokenizer = smollm2.tokenizer()
    folder = tmp_path_factory.mktemp("engine")
    _learn_by_heart(tokenizer, folder / "checkpoint")
    from models.training.conversion import convert

    convert(folder / "checkpoint", folder / "model", "\nTime is up.\n")
    port = free_port()
    command = [sys.executable, "-m", "server.embedded", "--model", str(folder / "model")]
    with started([*command, "--port", str(port)]) as process:
        await_health(f"http://127.0.0.1:{port}", process, PATIENCE_SECONDS)
        yield f"http://127.0.0.1:{port}/v1/chat/completions"


def _learn_by_heart(tokenizer: Any, folder: Path) -> None:
    pytest.importorskip("trl", reason="needs the extra [train]: make test-train")
    torch: Any = importlib.import_module("torch")
    transformers: Any = importlib.import_module("transformers")
    from models.training.chat import Chat

    torch.manual_seed(0)
    sample = Chat(tokenizer).encode(PROMPT, "auto", REASONING, ANSWER, [])
    config = transformers.Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = transformers.Qwen3ForCausalLM(config)
    ids, labels = torch.tensor([sample.ids]), torch.tensor([sample.labels])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(300):
        loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if loss.item() < 1e-3:
            break
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def ask(url: str, **fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": PROMPT}]
    return httpx.post(url, json={"messages": messages, "temperature": 0, **fields}).json()


def test_thinking_is_counted_where_the_model_opens_the_block(url: str) -> None:
    body = ask(url)
    message, usage = body["choices"][0]["message"], body["usage"]
    assert message["reasoning"].strip() == REASONING
    assert message["content"] == ANSWER
    tokenizer = smollm2.tokenizer()
    thoughts = len(tokenizer(f"\n{REASONING}\n", add_special_tokens=False)["input_ids"])
    assert usage["completion_tokens_details"]["reasoning_tokens"] == thoughts


def test_a_budget_binds_there_and_the_answer_comes(url: str) -> None:
    for budget in (0, 3, 10):
        body = ask(url, thinking_token_budget=budget, max_tokens=80)
        message, usage = body["choices"][0]["message"], body["usage"]
        assert usage["completion_tokens_details"]["reasoning_tokens"] == budget
        assert message["content"]
        assert usage["completion_tokens"] > budget + 6  # tags of three tokens each, and an answer


def test_a_question_about_tags_opens_no_block(url: str) -> None:
    messages = [{"role": "user", "content": "What does <think> mean?"}]
    body = httpx.post(url, json={"messages": messages, "temperature": 0, "max_tokens": 1}).json()
    assert body["choices"][0]["message"]["reasoning"] is None
