"""Training samples of retold stories: other words, the same completions.

The completions are those that the model of the stage `sft` learned for the story's numbers: the
shortest form that is right without a tag, and the tag's form with one.
"""

import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from transformers import PreTrainedTokenizerFast

from models.domain.reasoning_traces import REACH, answer_text, trace
from models.domain.retelling import Conversation, conversations
from models.domain.stories import Story
from models.domain.visitors import NO_STORY, REPLY
from models.training.batches import Batch, Sample, bucketed
from models.training.chat import IGNORED, Chat
from models.training.samples import POOL_SAMPLES, cut_sample

BUCKETS = (128, 192, 256, 384, 512, 768, 1024, 2048)
"""Padded lengths in tokens."""

_EFFORTS = ("auto", "none", "low", "medium", "high")
_EFFORT_WEIGHTS = (32, 6, 6, 18, 38)
_GAP_SHARE = 0.3
_MAX_GAP = 3_000
"""In positions; with the longest samples it fills the context."""


def shortest_form(story: Story) -> str:
    """The cheapest effort whose form solves the story."""
    return next((form for form, reach in REACH.items() if len(story.steps) <= reach), "high")


def write_sample(chat: Chat, conversation: Conversation, effort: str, rng: random.Random) -> Sample:
    """One sample; a budget cuts the reasoning of some (`cut_sample`).

    Where messages precede the last one, a gap in the positions before it stands for more text, in a
    share of the samples.
    """
    story = conversation.story
    form = shortest_form(story) if effort == "auto" and story else effort
    reasoning = "" if effort == "none" else trace(story, form) if story else NO_STORY
    response = answer_text(story, form) if story else REPLY
    prompt = chat.ids(chat.render(conversation.messages, effort))
    sample = None if effort == "none" else cut_sample(chat, prompt, reasoning, response, rng)
    if sample is None:
        parts = chat.completion(True, reasoning, response)
        completion = chat.ids(parts[1] if effort == "none" else "".join(parts))
        sample = Sample(prompt + completion, [IGNORED] * len(prompt) + completion)
    if len(conversation.messages) == 1 or rng.random() >= _GAP_SHARE:
        return sample
    last_prompt = chat.ids(chat.render(conversation.messages[-1:], effort))
    return replace(sample, gap_at=len(prompt) - len(last_prompt), gap=rng.randrange(_MAX_GAP))


def retold_batches(
    tokenizer: PreTrainedTokenizerFast, seed: int, batch_tokens: int
) -> Iterator[Batch]:
    """The batches of one pool of 2,048 samples, bucketed and shuffled.

    Args:
        tokenizer: renders and encodes.
        seed: the pool's seed; the same seed gives the same batches.
        batch_tokens: padded tokens in a batch.
    """
    rng = random.Random(f"retold pool:{seed}")
    chat = Chat(tokenizer)
    efforts = rng.choices(_EFFORTS, _EFFORT_WEIGHTS, k=POOL_SAMPLES)
    samples = [
        write_sample(chat, conversation, effort, rng)
        for conversation, effort in zip(
            islice(conversations(seed), POOL_SAMPLES), efforts, strict=True
        )
    ]
    yield from bucketed(samples, BUCKETS, batch_tokens, rng)
