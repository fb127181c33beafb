#!/bin/sh
# Accelerate 1.15.0: making an Accelerator takes all environment variables of the process away, and sets them again.
#
# Guess: an object that reads its defaults from environment variables changes none.
# Seen: to find out which options differ from their defaults, `KwargsHandler.to_kwargs` empties `os.environ`, makes a second
# object, and fills it again: for that moment PATH, HOME and all else are missing. datasets 5.2.0 does the same through
# `mock.patch.dict` while it "downloads" a local JSON file.
# Hurts: a thread that reads a variable by then finds none; one in C is within `getenv` while the array that it reads is
# moved, and the process may end with SIGSEGV: seen once, at the start of a training.
# Remedy: no threads before the Accelerator is made (pyarrow's JSON reader leaves two behind), or glibc 2.41, whose `getenv`
# is safe beside `setenv`.
# Source: run; accelerate/utils/dataclasses.py and accelerate/utils/environment.py.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.13.0 accelerate==1.15.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import os
import sys

from accelerate import Accelerator
from accelerate.utils import GradientAccumulationPlugin

fewest = before = len(os.environ)


def watch(event: str, _: object) -> None:
    """Note how few variables are left, at each change of one."""
    global fewest
    if event in ("os.putenv", "os.unsetenv"):
        fewest = min(fewest, len(os.environ))


sys.addaudithook(watch)
Accelerator(gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=2))
print(f"{before} environment variables before, {len(os.environ)} after, {fewest} in between")
assert fewest <= 1 < before, "the behaviour has changed"
PYTHON
