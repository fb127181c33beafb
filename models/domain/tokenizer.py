"""The demo model's tokenizer: byte-level BPE, learned from stories, with a token per digit.

Owns the special tokens and the chat template. Its alphabet is all bytes, so it encodes any text.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from models.domain.reasoning_traces import EFFORTS, TRANSITION, answer_text, trace
from models.domain.stories import stories

CONTEXT = 1024
"""The context length: tokens of prompt and completion together."""

_PADDING = "<|endoftext|>"
_END = "<|im_end|>"
TAGS = ("<|low|>", "<|medium|>", "<|high|>")
_CONTROL = [_PADDING, "<|im_start|>", _END, *TAGS]
_REASONING = ["<think>", "</think>"]


def train_tokenizer(vocabulary: int, seed: int = 0) -> PreTrainedTokenizerFast:
    """A tokenizer of `vocabulary` tokens, learned from 4,000 training stories."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\d"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=_CONTROL + _REASONING,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(seed), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=_END,
        pad_token=_PADDING,
        chat_template=(Path(__file__).parent / "chat_template.jinja").read_text(),
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )


def _texts(seed: int) -> Iterator[str]:
    for story in islice(stories(seed), 4000):
        yield story.prompt
        yield answer_text(story)
        for effort in EFFORTS:
            yield trace(story, effort, announced=False)
    yield TRANSITION
