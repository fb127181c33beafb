"""Training samples for a demo model from scratch, packed into batches of similar length.

They have no tags: each sample has one of the forms of reasoning, and the prompt does not say which.
Only the completion carries loss.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from transformers import PreTrainedTokenizerFast

from models.domain.reasoning_traces import EFFORTS, TRANSITION, answer_text, trace
from models.domain.stories import Story, stories
from models.training.chat import IGNORED, Chat, Encoded

BUCKETS = (128, 192, 256, 384, 512, 768)
"""Padded lengths in tokens; few, so that a compiled model is compiled for few shapes."""

_POOL_SAMPLES = 2048
_CUT_SHARE = 0.08
_EFFORT_WEIGHTS = (6, 24, 50, 20)


@dataclass(frozen=True)
class Batch:
    """`ids` and `labels`, both int64 (samples, bucket); `tokens` counts those without padding."""

    ids: torch.Tensor
    labels: torch.Tensor
    tokens: int


def write_sample(chat: Chat, story: Story, effort: str, rng: random.Random) -> Encoded:
    """One sample; in a share of `_CUT_SHARE` a budget cuts its reasoning.

    A cut sample ends its reasoning with the transition sentence and carries loss on the answer
    only: the model learns to answer when its budget is used up, not to stop thinking by itself.
    """
    reasoning, response = trace(story, effort, announced=False), answer_text(story, effort)
    if effort == "none":
        return chat.encode(story.prompt, effort, reasoning, response, [])
    if rng.random() >= _CUT_SHARE:
        return chat.encode(story.prompt, "auto", reasoning, response, [])
    prompt, thinking = chat.ids(chat.prompt(story.prompt, "auto")), chat.ids(reasoning)
    thinking = thinking[: rng.randrange(len(thinking) + 1)]
    thinking += chat.ids(f"{TRANSITION}</think>\n\n")
    answer = chat.ids(f"{response}{chat.tokenizer.eos_token}")
    context = prompt + thinking
    return Encoded(context + answer, [IGNORED] * len(context) + answer, len(prompt))


def batches(
    tokenizer: PreTrainedTokenizerFast, seed: int, batch_tokens: int, max_steps: int
) -> Iterator[Batch]:
    """The batches of one pool of 2,048 training samples, bucketed and shuffled.

    Args:
        tokenizer: renders and encodes.
        seed: the pool's seed; the same seed gives the same batches.
        batch_tokens: padded tokens in a batch.
        max_steps: the largest number of steps of a story; the curriculum raises it.
    """
    rng = random.Random(f"pool:{seed}")
    source = stories(seed, "train", 1, max_steps)
    efforts = rng.choices(EFFORTS, _EFFORT_WEIGHTS, k=_POOL_SAMPLES)
    chat = Chat(tokenizer)
    samples = [write_sample(chat, next(source), effort, rng) for effort in efforts]
    pool: list[Batch] = []
    for shorter, bucket in pairwise((0, *BUCKETS)):
        group = [sample for sample in samples if shorter < len(sample.ids) <= bucket]
        size = batch_tokens // bucket
        pool += [
            _pad(group[start : start + size], bucket)
            for start in range(0, len(group) - size + 1, size)
        ]
    rng.shuffle(pool)
    yield from pool


def _pad(samples: list[Encoded], bucket: int) -> Batch:
    ids = torch.zeros((len(samples), bucket), dtype=torch.int64)
    labels = torch.full((len(samples), bucket), IGNORED)
    for row, sample in enumerate(samples):
        length = len(sample.ids)
        ids[row, :length] = torch.tensor(sample.ids)
        labels[row, :length] = torch.tensor(sample.labels)
    return Batch(ids, labels, sum(len(sample.ids) for sample in samples))
