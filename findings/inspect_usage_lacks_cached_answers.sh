#!/bin/sh
# Inspect AI 0.3.285: token usage of a log lacks cached answers, and counts failed attempts in one place only.
#
# Guess: a sample's `model_usage` says what its answer took, and the samples' sums are the log's `stats`.
# Seen: an answer that comes from the cache has `output.usage` as when it was generated, but the sample's
# `model_usage` and the log's `stats` are empty. After a failed attempt (`retry_on_error`), `stats` counts both
# attempts and the sample only the last one, so the sums differ without a cache too.
# Hurts: whoever compares the tokens of two efforts or models by `model_usage`: after a partly cached run, the
# cached one looks free; whoever compares spending by samples misses the failed attempts.
# Remedy: for the length of an answer, sum `output.usage` over the sample's model events (this project does);
# for spending, read `stats`.
# Source: inspect_ai/model/_model.py of the wheel: usage is recorded after a call, not after a cache hit.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check inspect-ai==0.3.285
INSPECT_CACHE_DIR="$folder/cache" "$folder/venv/bin/python" - "$folder/logs" <<'PYTHON'
import sys
from importlib.metadata import version

from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from inspect_ai.scorer import match
from inspect_ai.solver import generate, solver

NAME = "mockllm/model"


@solver
def failing_once():
    """A solver whose first attempt fails after the model has answered."""
    attempts = []

    async def solve(state, generate):
        state = await generate(state)
        attempts.append(state)
        if len(attempts) == 1:
            raise RuntimeError("a tool failed")
        return state

    return solve


def run(solver, **options):
    """Output tokens by a sample's model_usage, by its output, and by the log's stats."""
    answers = [ModelOutput.from_content(NAME, "4") for _ in range(2)]
    for answer in answers:
        answer.usage = ModelUsage(output_tokens=1000, reasoning_tokens=900, total_tokens=1000)
    model = get_model(NAME, custom_outputs=answers, memoize=False)
    task = Task(dataset=[Sample(input="2 + 2?", target="4")], solver=solver, scorer=match())
    log = eval(task, model=model, display="none", log_dir=sys.argv[1], **options)[0]
    assert log.status == "success"
    (sample,) = log.samples
    tables = (sample.model_usage, {NAME: sample.output.usage}, log.stats.model_usage)
    return [table[NAME].output_tokens if NAME in table else None for table in tables]


print(f"inspect-ai {version('inspect-ai')}: output tokens by sample.model_usage, sample.output, log.stats")
seen = {
    "generated": run(generate(cache=True)),
    "cached": run(generate(cache=True)),
    "second attempt": run(failing_once(), retry_on_error=1),
}
for name, tokens in seen.items():
    print(f"{name:15} {tokens}")
expected = {
    "generated": [1000, 1000, 1000],
    "cached": [None, 1000, None],
    "second attempt": [1000, 1000, 2000],
}
assert seen == expected, "the behaviour has changed"
PYTHON
