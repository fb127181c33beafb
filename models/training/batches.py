"""Batches of samples of similar length, padded to one of a few lengths.

A compiled model is compiled for each length, so there are few.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch

from models.training.chat import IGNORED


@dataclass(frozen=True)
class Sample:
    """Token ids and, as long, their `labels`; `gap` positions are skipped before token `gap_at`."""

    ids: Sequence[int]
    labels: Sequence[int]
    gap_at: int = 0
    gap: int = 0


@dataclass(frozen=True)
class Batch:
    """`ids` and `labels`, both int64 (samples, length); `tokens` counts those without padding.

    `positions`, int64 (samples, length) too, are None where they are 0, 1, 2 and so on.
    """

    ids: torch.Tensor
    labels: torch.Tensor
    tokens: int
    positions: torch.Tensor | None = None


def bucketed(
    samples: Sequence[Sample], lengths: Sequence[int], batch_tokens: int, rng: random.Random
) -> Iterator[Batch]:
    """Full batches in random order; samples that are longer than all `lengths` are left out.

    Args:
        samples: in any order.
        lengths: padded lengths in tokens, ascending.
        batch_tokens: padded tokens in a batch, at least one sample.
        rng: draws the order.
    """
    with_gaps = any(sample.gap for sample in samples)
    pool: list[Batch] = []
    for shorter, length in pairwise((0, *lengths)):
        group = [sample for sample in samples if shorter < len(sample.ids) <= length]
        size = max(1, batch_tokens // length)
        pool += [
            _pad(group[start : start + size], length, with_gaps)
            for start in range(0, len(group) - size + 1, size)
        ]
    rng.shuffle(pool)
    yield from pool


def _pad(samples: Sequence[Sample], length: int, with_gaps: bool) -> Batch:
    ids = torch.zeros((len(samples), length), dtype=torch.int64)
    labels = torch.full((len(samples), length), IGNORED)
    positions = torch.arange(length).repeat(len(samples), 1)
    for row, sample in enumerate(samples):
        size = len(sample.ids)
        ids[row, :size] = torch.tensor(sample.ids)
        labels[row, :size] = torch.tensor(sample.labels)
        positions[row, sample.gap_at :] += sample.gap
    tokens = sum(len(sample.ids) for sample in samples)
    return Batch(ids, labels, tokens, positions if with_gaps else None)
