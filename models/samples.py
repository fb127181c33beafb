"""Tokenised training samples of the demo domain, packed into batches of similar length.

The prompt part is rendered by the tokenizer's own chat template, so that training sees token for
token what serving renders. Only the completion carries loss.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerFast

from models.stories import Story, stories
from models.traces import EFFORTS, TRANSITION, answer_text, trace

IGNORED = -100
"""The label that leaves a token out of the loss (PyTorch's default `ignore_index`)."""

BUCKETS = (128, 192, 256, 384, 512, 768)
"""Padded lengths in tokens; few, so that a compiled model sees few shapes."""

_POOL = 2048
_CUT_SHARE = 0.08
_UNTAGGED_SHARE = 0.1
_EFFORT_WEIGHTS = (6, 24, 50, 20)


@dataclass(frozen=True)
class Sample:
    """Token ids, and how many of the first ones carry no loss."""

    ids: list[int]
    masked: int


@dataclass(frozen=True)
class Batch:
    """`ids` and `labels`, both int64 of shape [samples, bucket]; `tokens` counts unpadded ones."""

    ids: torch.Tensor
    labels: torch.Tensor
    tokens: int


def render_prompt(tokenizer: PreTrainedTokenizerFast, prompt: str, effort: str | None) -> str:
    """The text that serving would send to the model for a one-turn conversation."""
    return str(
        tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}],
            tokenize=False,
            add_generation_prompt=True,
            reasoning_effort=effort or "auto",
        )
    )


def write_sample(
    tokenizer: PreTrainedTokenizerFast, story: Story, effort: str, rng: random.Random
) -> Sample:
    """One training sample; a share has no tag, and a share has its reasoning cut by a budget.

    A cut sample ends its reasoning with the transition sentence and carries loss on the answer
    only: the model learns to answer when its budget ran out, not to give up by itself.
    """
    tag = None if effort != "none" and rng.random() < _UNTAGGED_SHARE else effort
    prompt = tokenizer.encode(render_prompt(tokenizer, story.prompt, tag))
    answer = tokenizer.encode(f"{answer_text(story, effort)}{tokenizer.eos_token}")
    if effort == "none":
        return Sample(prompt + answer, len(prompt))
    closing = "\n</think>\n\n"
    thinking = tokenizer.encode(trace(story, effort))
    if rng.random() < _CUT_SHARE:
        thinking = thinking[: rng.randrange(len(thinking) + 1)]
        closing = f"{TRANSITION}</think>\n\n"
        block = thinking + tokenizer.encode(closing)
        return Sample(prompt + block + answer, len(prompt) + len(block))
    return Sample(prompt + thinking + tokenizer.encode(closing) + answer, len(prompt))


def batches(
    tokenizer: PreTrainedTokenizerFast, seed: int, batch_tokens: int, longest: int
) -> Iterator[Batch]:
    """One pool of about 2,000 training samples, bucketed and shuffled.

    Args:
        tokenizer: renders and encodes.
        seed: the pool's seed; the same seed gives the same batches.
        batch_tokens: padded tokens in a batch.
        longest: the most steps of a story (the curriculum's dial).
    """
    rng = random.Random(f"pool:{seed}")
    source = stories(seed, "train", 1, longest)
    efforts = rng.choices(EFFORTS, _EFFORT_WEIGHTS, k=_POOL)
    samples = [write_sample(tokenizer, next(source), effort, rng) for effort in efforts]
    made: list[Batch] = []
    below = 0
    for bucket in BUCKETS:
        group = [sample for sample in samples if below < len(sample.ids) <= bucket]
        below = bucket
        size = batch_tokens // bucket
        made += [
            _pad(group[first : first + size], bucket)
            for first in range(0, len(group) - size + 1, size)
        ]
    rng.shuffle(made)
    yield from made


def _pad(samples: list[Sample], bucket: int) -> Batch:
    ids = torch.zeros((len(samples), bucket), dtype=torch.int64)
    labels = torch.full((len(samples), bucket), IGNORED)
    for row, sample in enumerate(samples):
        length = len(sample.ids)
        ids[row, :length] = torch.tensor(sample.ids)
        labels[row, sample.masked : length] = ids[row, sample.masked : length]
    return Batch(ids, labels, sum(len(sample.ids) for sample in samples))
