#!/bin/sh
# torch 2.13.0: `torch.optim.Muon` computes its update in bfloat16, whatever the type of the parameters.
#
# Guess: an optimiser computes in the type of its parameters and of their gradients, as all others of `torch.optim` do, so
# training in float32 (or float64) is exact to that type, and costs what that type costs.
# Seen: the momentum is rounded to bfloat16 before it is made orthogonal, and the five iterations run in it; no argument
# changes that. Every element of the update of a float64 parameter has eight bits, and two gradients that differ by less than
# the rounding give the same update. On a CPU without bfloat16 instructions the products are emulated, and a step takes
# several times as long as the same iterations in float32.
# Hurts: whoever trains small models on CPUs, where the optimiser took half of a training step here; whoever compares
# precisions and takes float32 for what it says.
# Remedy: iterate in the type of the parameters in an optimiser of one's own, some fifteen lines.
# Source: torch/optim/_muon.py, `_zeropower_via_newtonschulz`.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.3.5
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import time

import torch

torch.manual_seed(0)
torch.set_num_threads(1)
ROWS, COLUMNS, STEPS = 512, 1024, 10


def update(optimizer_class, gradient, **options):
    """What one step of learning rate 1 subtracts from a parameter."""
    parameter = torch.nn.Parameter(torch.zeros_like(gradient))
    parameter.grad = gradient.clone()
    optimizer_class([parameter], lr=1.0, weight_decay=0.0, **options).step()
    return -parameter.detach()


def has_eight_bits(values):
    return bool((values == values.bfloat16().to(values.dtype)).all())


gradient = torch.randn(64, 64, dtype=torch.float64)
muon, adam = update(torch.optim.Muon, gradient), update(torch.optim.AdamW, gradient)
sgd = update(torch.optim.SGD, gradient)
nudged = update(torch.optim.Muon, gradient * (1 + 1e-7 * torch.rand_like(gradient)))
print(f"update of a float64 parameter: eight bits are all it has: Muon {has_eight_bits(muon)},")
print(f"AdamW {has_eight_bits(adam)}, SGD {has_eight_bits(sgd)}; a nudge of 1e-7 changes Muon's: {not torch.equal(muon, nudged)}")


def seconds(gradient):
    parameter = torch.nn.Parameter(torch.zeros_like(gradient))
    parameter.grad = gradient
    optimizer = torch.optim.Muon([parameter], lr=0.01)
    optimizer.step()
    start = time.process_time()
    for _ in range(STEPS):
        optimizer.step()
    return (time.process_time() - start) / STEPS


def seconds_in_float32(gradient):
    """The products of one step alone, in float32."""
    start = time.process_time()
    for _ in range(STEPS):
        wide = gradient / gradient.norm()
        for _ in range(5):
            gram = wide @ wide.T
            wide = torch.addmm(wide, gram + gram @ gram, wide)
    return (time.process_time() - start) / STEPS


matrix = torch.randn(ROWS, COLUMNS)
print(f"one step of a float32 matrix of {ROWS} x {COLUMNS}: {1000 * seconds(matrix):.0f} ms of CPU; its products in float32: {1000 * seconds_in_float32(matrix):.0f} ms")
assert has_eight_bits(muon) and torch.equal(muon, nudged), "the behaviour has changed"
assert not has_eight_bits(adam) and not has_eight_bits(sgd)
PYTHON
