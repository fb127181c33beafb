"""Samples of a problem in one row, with their prompt once, train as they do apart."""

from typing import Any

import pytest

from models.training.chat import IGNORED, Encoded
from models.training.examples import Example
from models.training.shared_prompts import positions, segments, share_prompts

PROMPT = [1, 2, 3]
SAMPLES = {  # tag and completion, after the prompt
    "low": ([11], [21, 22, 23]),
    "medium": ([12], [24, 25, 26, 27, 28]),
    "high": ([13, 14], [29]),
}


def sample(effort: str, problem: str = "a") -> tuple[Example, Encoded]:
    tag, completion = SAMPLES[effort]
    ids = [*PROMPT, *tag, *completion]
    labels = [IGNORED] * (len(PROMPT) + len(tag)) + completion
    example = Example(problem, "?", effort, "", "", len(completion))
    return example, Encoded(ids, labels, len(PROMPT) + len(tag))


def test_a_row_has_the_common_prompt_once() -> None:
    (row,) = share_prompts([sample(effort) for effort in SAMPLES], 100)
    assert row["branches"] == [3, 4, 6, 3]
    assert row["input_ids"] == [1, 2, 3, 11, 21, 22, 23, 12, 24, 25, 26, 27, 28, 13, 14, 29]
    assert row["labels"].count(IGNORED) == 7
    assert positions(row["branches"]) == [0, 1, 2, 3, 4, 5, 6, 3, 4, 5, 6, 7, 8, 3, 4, 5]
    assert segments(row["branches"]) == [0] * 3 + [1] * 4 + [2] * 6 + [3] * 3


def test_the_last_token_of_the_prompt_starts_each_branch() -> None:
    """The token before a branch is of another one, which must not be asked to predict it."""
    (row,) = share_prompts([sample("low"), sample("low")], 100)
    assert row["branches"] == [3, 4, 4]
    assert row["labels"][3] == row["labels"][7] == IGNORED


def test_problems_and_long_rows_stay_apart() -> None:
    samples = [sample("low"), sample("medium"), sample("low", "b")]
    assert [row["branches"] for row in share_prompts(samples, 100)] == [[3, 4, 6], [3, 4]]
    assert [row["branches"] for row in share_prompts(samples, 10)] == [[3, 4], [3, 6], [3, 4]]


def test_loss_and_gradient_are_those_of_the_samples_apart() -> None:
    torch: Any = pytest.importorskip("torch", reason="needs the extra [train]")
    transformers: Any = pytest.importorskip("transformers", reason="needs the extra [train]")
    trainer: Any = pytest.importorskip("models.training.sft_trainer")
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=32, hidden_size=16, intermediate_size=32, num_hidden_layers=2,
            num_attention_heads=2, num_key_value_heads=1, tie_word_embeddings=True,
        )
    )  # fmt: skip
    samples = [sample("low"), sample("medium"), sample("high"), sample("low", "b")]
    apart = [{"input_ids": s.ids, "labels": s.labels} for _, s in samples]
    collate = trainer.RowCollator(0)
    expected = model(**collate(apart)).loss  # transformers' own, from all logits
    expected.backward()
    gradient = model.model.embed_tokens.weight.grad.clone()
    model.zero_grad()
    trainer.replace_forward(model)
    batch = collate(share_prompts(samples, 100))
    assert batch["input_ids"].shape == (2, 16)
    scored = model(**batch, fused_lm_head=True)
    scored.loss.backward()
    assert scored.loss.item() == pytest.approx(expected.item(), abs=1e-5)
    assert torch.allclose(model.model.embed_tokens.weight.grad, gradient, atol=1e-5)
    assert int(scored.label_mask.sum()) == 12
