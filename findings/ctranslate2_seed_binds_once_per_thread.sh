#!/bin/sh
# CTranslate2 4.8.5: set_random_seed seeds only threads that have not drawn a number yet.
#
# Guess: a call of `ctranslate2.set_random_seed(7)` before each sampled generation makes the generations equal.
# Seen: the first is determined by the seed; the second, of the same model with the same seed, is another
# text. Each thread has a generator of its own, which is seeded at the thread's first draw, and never again.
# Only a new Generator, with new threads, begins at the seed.
# Hurts: whoever serves OpenAI's `seed` by it, compares two settings at equal seeds, or repeats a failed sample.
# With several threads, the text also depends on which of them takes the request.
# Remedy: load the model anew for a request that has a seed (this project does), or decode greedily.
# Source: src/random.cc of the release: a thread_local generator, initialised from the global seed. The symptom,
# without this cause, is reported in OpenNMT/CTranslate2#1757 (open).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check ctranslate2==4.8.5 numpy
mkdir "$folder/model"
"$folder/venv/bin/python" - "$folder/model" <<'PYTHON'
import sys

import ctranslate2
import numpy as np

WORDS, WIDTH = 64, 16
rng = np.random.default_rng(0)


def weights(*shape):
    return rng.normal(0, 0.3, shape).astype(np.float32)


def linear(layer, outputs, inputs):
    layer.weight, layer.bias = weights(outputs, inputs), np.zeros(outputs, np.float32)


def norm(layer):
    layer.gamma, layer.beta = np.ones(WIDTH, np.float32), np.zeros(WIDTH, np.float32)


# a language model of one layer with random weights
spec = ctranslate2.specs.TransformerDecoderModelSpec.from_config(1, 2, pre_norm=True)
decoder = spec.decoder
decoder.scale_embeddings = False
decoder.embeddings.weight = weights(WORDS, WIDTH)
decoder.position_encodings.encodings = weights(32, WIDTH)
norm(decoder.layer_norm)
linear(decoder.projection, WORDS, WIDTH)
for layer in decoder.layer:
    norm(layer.self_attention.layer_norm)
    linear(layer.self_attention.linear[0], 3 * WIDTH, WIDTH)
    linear(layer.self_attention.linear[1], WIDTH, WIDTH)
    norm(layer.ffn.layer_norm)
    linear(layer.ffn.linear_0, 2 * WIDTH, WIDTH)
    linear(layer.ffn.linear_1, WIDTH, 2 * WIDTH)
spec.register_vocabulary([*(f"w{number}" for number in range(WORDS - 3)), "<s>", "</s>", "<unk>"])
spec.validate()
spec.save(sys.argv[1])


def generator():
    return ctranslate2.Generator(sys.argv[1], inter_threads=1, intra_threads=1)


def sampled(model):
    ctranslate2.set_random_seed(7)
    options = {"sampling_topk": 0, "min_length": 12, "max_length": 12}
    return model.generate_batch([["w1"]], **options)[0].sequences_ids[0]


model = generator()
first, second, anew = sampled(model), sampled(model), sampled(generator())
print(f"ctranslate2 {ctranslate2.__version__}, seed 7 before each call")
print(f"first call:          {first}")
print(f"second call:         {second}")
print(f"a new Generator:     {anew}")
assert first == anew and first != second, "the behaviour has changed"
PYTHON
