"""Training samples for a demo model from scratch.

They have no tags: each sample has one of the forms of reasoning, and the prompt does not say which.
Only the completion carries loss.
"""

import random
from collections.abc import Iterator, Sequence

from transformers import PreTrainedTokenizerFast

from models.domain.reasoning_traces import EFFORTS, TRANSITION, answer_text, trace
from models.domain.stories import Story, stories
from models.training.batches import Batch, Sample, bucketed
from models.training.chat import IGNORED, Chat

BUCKETS = (128, 192, 256, 384, 512, 768)
"""Padded lengths in tokens."""

POOL_SAMPLES = 2048
_CUT_SHARE = 0.08
_EFFORT_WEIGHTS = (6, 24, 50, 20)


def cut_sample(
    chat: Chat, prompt: Sequence[int], reasoning: str, response: str, rng: random.Random
) -> Sample | None:
    """A sample whose reasoning a budget cuts, in a share of `_CUT_SHARE`; else None.

    It ends its reasoning with the transition sentence and carries loss on the answer only: the
    model learns to answer when its budget is used up, not to stop thinking by itself.
    """
    if rng.random() >= _CUT_SHARE:
        return None
    thinking = chat.ids(reasoning)
    thinking = thinking[: rng.randrange(len(thinking) + 1)]
    thinking += chat.ids(f"{TRANSITION}</think>\n\n")
    answer = chat.ids(f"{response}{chat.tokenizer.eos_token}")
    context = [*prompt, *thinking]
    return Sample(context + answer, [IGNORED] * len(context) + answer)


def write_sample(chat: Chat, story: Story, effort: str, rng: random.Random) -> Sample:
    """One sample in the form of `effort`."""
    reasoning, response = trace(story, effort, announced=False), answer_text(story, effort)
    if effort != "none":
        prompt = chat.ids(chat.prompt(story.prompt, "auto"))
        if cut := cut_sample(chat, prompt, reasoning, response, rng):
            return cut
    prompt_effort = "none" if effort == "none" else "auto"
    encoded = chat.encode(story.prompt, prompt_effort, reasoning, response, [])
    return Sample(encoded.ids, encoded.labels)


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
    efforts = rng.choices(EFFORTS, _EFFORT_WEIGHTS, k=POOL_SAMPLES)
    chat = Chat(tokenizer)
    samples = [write_sample(chat, next(source), effort, rng) for effort in efforts]
    yield from bucketed(samples, BUCKETS, batch_tokens, rng)
