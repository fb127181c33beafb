"""The prompts that the portable router is fitted on, with the share of models that solve each."""

import csv
import gzip
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from random import Random
from statistics import fmean

from models.studies.everyday import greetings, proofs
from router.features import Prompt, read_prompt
from router.messages import read_messages
from router.question import question

_MAX_PROBLEMS = 3_000
"""The limit per source, so that no source dominates."""
_EASY = 0.97
ASSUMED = {"greetings": 0.99, "proofs": 0.6}
"""The assumed shares of `models.studies.everyday`; that of proofs is about MATH's level 4."""

PANELS = {
    "zeroeval": "WildEval/ZeroEval, Apache-2.0: GSM8K, MATH level 5, CRUX",
    "reasoning_gym": "open-thought/reasoning-gym-eval, Apache-2.0",
    "mmlu_pro": "TIGER-AI-Lab/MMLU-Pro, Apache-2.0",
    "routellm": "lm-sys/RouteLLM, Apache-2.0: GSM8K, MMLU",
    "bbh_codex": "suzgunmirac/BIG-Bench-Hard, MIT",
    "jhu_concise_cot": "matthewrenze/jhu-concise-cot, BSD-2",
    "epoch_otis_aime": "Epoch AI Benchmarking Hub, CC-BY-4.0",
    "epoch_simpleqa": "Epoch AI Benchmarking Hub, CC-BY-4.0",
}
"""Judged outcomes of several models, at any effort."""

GRADED = {
    "gsm8k_train": {0: 0.9, 1: 0.9, 2: 0.91, 3: 0.87, 4: 0.84, 5: 0.83, 6: 0.75, 7: 0.74, 8: 0.71},
    "math_4500": {1: 0.92, 2: 0.85, 3: 0.75, 4: 0.62, 5: 0.45},
}
"""The assumed share by human difficulty: for the solution steps of GSM8K (MIT) the share of test
problems with as many steps that zeroeval's panel solves; for the levels of MATH (MIT) down to about
that panel's share at level 5."""

CHAT = ("mt_bench", "arena_hard_v0.1")
"""Everyday prompts (Apache-2.0), assumed to be easy, since their answers cannot be judged."""

SOURCES = (*PANELS, *GRADED, *CHAT, *ASSUMED)


@dataclass(frozen=True)
class Problem:
    """A prompt, and the share of a panel of models that solves it."""

    source: str
    prompt: Prompt
    share: float


def read_all(data: Path) -> list[Problem]:
    """The problems of every source with a clear question, from `_MAX_PROBLEMS` of each."""
    problems: list[Problem] = []
    for name in SOURCES:
        if name in PANELS:
            rows = list(_panel(data, name))
        elif name in GRADED:
            rows = list(_graded(data, name, GRADED[name]))
        elif name in ASSUMED:
            prompts = greetings() if name == "greetings" else proofs()
            rows = [(prompt, ASSUMED[name]) for prompt in prompts]
        else:
            rows = [
                (str(row["prompt"]), _EASY) for row in _lines(data / "chat", f"{name}.jsonl.gz")
            ]
        for text, share in Random(0).sample(rows, min(len(rows), _MAX_PROBLEMS)):
            conversation = question(read_messages(text))
            if conversation.unreadable is None:
                problems.append(Problem(name, read_prompt(conversation), share))
    return problems


def _panel(data: Path, name: str) -> Iterator[tuple[str, float]]:
    """Each prompt with its share of correct generations, averaged over models."""
    cells: defaultdict[str, defaultdict[str, list[float]]]
    cells = defaultdict(lambda: defaultdict(list))
    for problem_id, model, correct in rows_of(data, name, "problem_id", "model", "correct"):
        cells[problem_id][model].append(float(correct))
    for problem in _lines(data / "outcomes", f"{name}.problems.jsonl.gz"):
        by_model = cells.get(str(problem["problem_id"]))
        if problem["prompt"] and by_model:
            yield str(problem["prompt"]), fmean(sum(c) / len(c) for c in by_model.values())


def _graded(data: Path, name: str, shares: Mapping[int, float]) -> Iterator[tuple[str, float]]:
    for problem in _lines(data / "problems", f"{name}.jsonl.gz"):
        level = int(float(str(problem["difficulty"])))
        yield str(problem["prompt"]), shares[min(level, max(shares))]


def rows_of(data: Path, name: str, *columns: str) -> Iterator[tuple[str, ...]]:
    """Some columns of a log's rows."""
    file = data / "outcomes" / f"{name}.outcomes.csv.gz"
    with gzip.open(file, "rt", encoding="utf-8", newline="") as stream:
        rows = csv.reader(stream)
        yield from map(itemgetter(*map(next(rows).index, columns)), rows)


def _lines(folder: Path, name: str) -> Iterator[Mapping[str, object]]:
    with gzip.open(folder / name, "rt", encoding="utf-8") as stream:
        yield from map(json.loads, stream)
