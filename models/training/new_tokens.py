"""Rows for tokens that a recipe adds to a base: told apart from the start, and trained."""

from collections.abc import Sequence
from typing import Any

import torch

Model = Any
Tokenizer = Any
"""Those of transformers; its classes are not typed."""


def add_rows(model: Model, tokenizer: Tokenizer, base: Tokenizer, seed: int) -> None:
    """Make room for all tokens, and draw a row of its own for each one that `base` lacks.

    Rows are drawn around the mean of the others with their spread. Rows that transformers adds are
    all alike, and those that a base has in reserve were never trained: with either, no effort could
    be told from another at the start.

    Args:
        model: gets the rows, in place.
        tokenizer: with the new tokens.
        base: the tokenizer that the model was trained with.
        seed: of the draw; every process of a training draws the same.
    """
    embedding = model.get_input_embeddings()
    if len(tokenizer) > embedding.weight.shape[0]:
        model.resize_token_embeddings(len(tokenizer))
        embedding = model.get_input_embeddings()
    known, vocabulary = base.get_vocab(), tokenizer.get_vocab()
    rows = sorted(number for text, number in vocabulary.items() if text not in known)
    if not rows:
        return
    weights = embedding.weight.data
    trained = weights[: len(known)].float()
    draw = torch.randn(
        (len(rows), weights.shape[1]), generator=torch.Generator().manual_seed(seed)
    ).to(trained)
    weights[rows] = (trained.mean(dim=0) + draw * trained.std(dim=0)).to(weights.dtype)


def trainable_rows(
    model: Model, tokenizer: Tokenizer, new_tokens: Sequence[str]
) -> dict[str, list[int]] | None:
    """What an adapter trains besides its matrices: the embedding's rows of the new tokens.

    None without any.
    """
    if not new_tokens:
        return None
    embedding = model.get_input_embeddings()
    name = next(name for name, module in model.named_modules() if module is embedding)
    rows = tokenizer.convert_tokens_to_ids(list(new_tokens))
    return {name.rpartition(".")[2]: sorted({*rows})}
