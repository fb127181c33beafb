#!/bin/sh
# transformers 5.24.0, `train_sampling_strategy="group_by_length"` (TRL's trainers take it over): batches come sorted by length.
#
# Guess: grouping by length fills a batch with samples of similar length and leaves the order of batches random.
# Seen: the sampler sorts "megabatches" of 50 batches from the longest to the shortest sample, so that where length
# tells a class (reasoning efforts do), fifteen and more consecutive batches hold one class only, round and round.
# Hurts: fine-tuning on several reasoning efforts. The model forgets one effort while it trains the next; on our demo
# model it learned one tag of three (models/LOG.md, 2026-11-25).
# Remedy: `train_sampling_strategy="batch_rebalance"` or "random".
# Source: transformers/trainer_pt_utils.py, get_length_grouped_indices.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.13.0
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check transformers==5.24.0
"$folder/venv/bin/python" - <<'PYTHON'
from itertools import groupby

import torch
from transformers.trainer_pt_utils import LengthGroupedSampler

BATCH = 16
generator = torch.Generator().manual_seed(0)
tokens = {"low": 30, "medium": 80, "high": 250}
efforts = [effort for effort in tokens for _ in range(1600)]
lengths = [tokens[effort] + int(torch.randint(20, (1,), generator=generator)) for effort in efforts]
order = list(LengthGroupedSampler(BATCH, lengths=lengths, generator=generator))
batches = [{efforts[index] for index in order[start : start + BATCH]} for start in range(0, len(order), BATCH)]
pure = [next(iter(batch)) if len(batch) == 1 else "mixed" for batch in batches]
runs = [(effort, len(list(group))) for effort, group in groupby(pure)]
print("consecutive batches of one effort:", runs[:10], "...")
longest = max(length for effort, length in runs if effort != "mixed")
mixed = pure.count("mixed") / len(pure)
print(f"longest run: {longest} batches; {mixed:.0%} of the batches hold more than one effort")
assert longest >= 12 and mixed < 0.2, "the behaviour has changed"
PYTHON
