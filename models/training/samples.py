"""Samples that a demo model is trained on from scratch, packed into batches of similar length.

They have no tags: every form of reasoning appears, and nothing tells which. Only the completion
carries loss.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerFast

from models.domain.reasoning_traces import EFFORTS, TRANSITION, answer_text, trace
from models.domain.stories import Story, stories
from models.training.chat import IGNORED, Chat, Encoded

BUCKETS = (128, 192, 256, 384, 512, 768)
"""Padded lengths in tokens; few, so that a compiled model sees few shapes."""

_POOL = 2048
_CUT_SHARE = 0.08
_EFFORT_WEIGHTS = (6, 24, 50, 20)


@dataclass(frozen=True)
class Batch:
    """`ids` and `labels`, both int64 of shape [samples, bucket]; `tokens` counts unpadded ones."""

    ids: torch.Tensor
    labels: torch.Tensor
    tokens: int


def write_sample(chat: Chat, story: Story, effort: str, rng: random.Random) -> Encoded:
    """One sample, its reasoning cut by a budget in a share of them.

    A cut sample ends its reasoning with the transition sentence and carries loss on the answer
    only: the model learns to answer when its budget ran out, not to give up by itself.
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
    unlearned = prompt + thinking
    return Encoded(unlearned + answer, [IGNORED] * len(unlearned) + answer, len(prompt))


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
    chat = Chat(tokenizer)
    samples = [write_sample(chat, next(source), effort, rng) for effort in efforts]
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


def _pad(samples: list[Encoded], bucket: int) -> Batch:
    ids = torch.zeros((len(samples), bucket), dtype=torch.int64)
    labels = torch.full((len(samples), bucket), IGNORED)
    for row, sample in enumerate(samples):
        length = len(sample.ids)
        ids[row, :length] = torch.tensor(sample.ids)
        labels[row, :length] = torch.tensor(sample.labels)
    return Batch(ids, labels, sum(len(sample.ids) for sample in samples))
