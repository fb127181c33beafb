"""The report of a run from synthetic outcomes: comparisons, the page, the model card."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paths import ROOT

from models.outcomes.problem_sets import Problem
from models.training.card import card
from models.training.evaluation import compare, policies_of
from models.training.html_report import html_report
from models.training.intervals import (
    accuracy_interval,
    difference_interval,
    resampled_interval,
)
from models.training.outcome_check import problems_of_outcomes
from models.training.recipe import Recipe
from models.training.recipe_file import read_recipe

EFFORTS = ("low", "medium", "high")
TOKENS = {"low": 10, "medium": 40, "high": 160}


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return read_recipe(ROOT / "models" / "recipes" / "smoke.toml", ["name=a<b"])


def outcome(problem: Problem, effort: str, tokens: int, correct: bool) -> dict[str, Any]:
    return {
        "problem_id": problem.problem_id,
        "effort": effort,
        "tokens": tokens,
        "thinking_tokens": tokens - 5,
        "correct": int(correct),
    }


@pytest.fixture(scope="module")
def report(recipe: Recipe) -> dict[str, Any]:
    """The tag model at three efforts, and a model that always thinks like `medium`."""
    problems = [Problem(str(number), "?", "1", float(number % 9 + 1)) for number in range(90)]
    tag = [
        outcome(problem, effort, TOKENS[effort], effort == "high" or problem.difficulty < 5)
        for problem in problems
        for effort in EFFORTS
    ]
    auto = [outcome(problem, "auto", 42, True) for problem in problems[1:]]  # one was refused
    policies = policies_of("tag", problems, tag, EFFORTS)
    policies += policies_of("sft", problems, auto, ["auto"])
    return compare(recipe, problems, policies)


@pytest.mark.parametrize(
    ("levels", "bands"),
    [([1, 2, 3, 3, 3, 3], 2), ([1, 1, 1, 1, 2, 3], 2), ([1, 2, 3], 3), ([1, 1, 2], 0)],
)
def test_thirds_of_few_problems_have_numbers(
    recipe: Recipe, levels: list[float], bands: int
) -> None:
    """A third may have no problem, or one that many resamples lack."""
    problems = [Problem(str(number), "?", "1", level) for number, level in enumerate(levels)]
    rows = [outcome(problem, effort, 9, True) for problem in problems for effort in EFFORTS]
    report = compare(recipe, problems, policies_of("tag", problems, rows, EFFORTS))
    assert len(report["policies"][0]["bands"]) == bands
    json.dumps(report, allow_nan=False)


def test_policies_and_comparisons_are_exact(report: dict[str, Any]) -> None:
    low, _, high, auto = report["policies"]
    assert low["accuracy"]["value"] == pytest.approx(4 / 9)
    wilson = {"value": 1.0, "low": 0.9591, "high": 1.0}
    assert high["accuracy"] == pytest.approx(wilson, abs=1e-4)
    assert auto["accuracy"]["value"] == pytest.approx(89 / 90)
    assert auto["tokens"]["value"] == pytest.approx(42 * 89 / 90)
    assert low["bands"]["hardest third"]["accuracy"]["value"] == 0
    pairs = [(row["this"], row["other"]) for row in report["comparisons"]]
    assert pairs == [
        ("tag, medium", "tag, low"),
        ("tag, high", "tag, medium"),
        ("tag, high", "tag, low"),
        ("sft, auto", "tag, high"),
    ]
    ratio = report["comparisons"][3]["tokens_ratio"]
    assert ratio["value"] == pytest.approx(42 * 89 / 90 / 160)
    assert ratio["low"] <= ratio["value"] <= ratio["high"]


def test_shares_are_of_the_nearest_effort(report: dict[str, Any]) -> None:
    shares = report["shares"]["sft"]
    assert list(shares) == [f"{level}.0" for level in range(1, 10)]
    assert shares["2.0"] == {"low": 0.0, "medium": 1.0, "high": 0.0}
    assert shares["1.0"]["low"] == pytest.approx(0.1)  # the refused problem has 0 tokens
    assert np.sum(list(shares["1.0"].values())) == pytest.approx(1)


def test_the_page_is_self_contained_and_escaped(report: dict[str, Any], tmp_path: Path) -> None:
    html = html_report(report, tmp_path)
    assert html.count("data:image/png;base64,") == 3
    assert "http" not in html
    assert "<h1>a&lt;b: accuracy and tokens</h1>" in html
    assert html.count("<tr>") == 2 + len(report["policies"]) + len(report["comparisons"])
    assert len(list(tmp_path.glob("*.png"))) == 3


def test_a_report_of_the_tag_model_alone_has_no_plot_of_chosen_efforts(
    report: dict[str, Any], tmp_path: Path
) -> None:
    html = html_report({**report, "shares": {}}, tmp_path)
    assert html.count("data:image/png;base64,") == 2
    assert not (tmp_path / "efforts_difficulty.png").exists()


def test_the_card_has_the_report_s_figures(recipe: Recipe, report: dict[str, Any]) -> None:
    text = card(recipe, report, "no router\nat all", "sft")
    assert "| tag, low | 44.4% [" in text
    assert "| sft, auto against tag, high | -1.1 [" in text
    assert "Router: no router; at all\n" in text
    assert '"name": "a<b"' in text
    assert "answers. This is the\nmodel of the stage `sft`" in text
    assert "DPO in 1 round. This" in card(recipe, report, "", "dpo")


def test_the_card_names_no_folder_of_this_machine(recipe: Recipe, report: dict[str, Any]) -> None:
    assert str(recipe.model.base).startswith("/")
    text = card(recipe, report, "", "sft")
    assert "base_model" not in text.partition("\n# ")[0]
    assert "Base: demo, a folder of its own." in text
    assert str(ROOT) not in text
    hub = recipe.model_copy(update={"model": recipe.model.model_copy(update={"base": "a/b"})})
    assert 'base_model: "a/b"\n' in card(hub, report, "", "sft").partition("\n# ")[0]


def test_few_problems_have_wide_intervals() -> None:
    none_of_four = accuracy_interval(np.zeros(4))
    assert none_of_four == pytest.approx({"value": 0, "low": 0, "high": 0.4899}, abs=1e-4)
    half = accuracy_interval(np.array([0.5, 0.5, 0.25, 0.75] * 25))  # the mean of samples each
    assert half["high"] - half["low"] < 0.1  # 0.19 of 100 single answers
    same = difference_interval(np.zeros(4))
    assert same["low"] < -0.3
    assert same["high"] > 0.3
    many = difference_interval(np.array([1.0, 0.0, 0.0, 0.0] * 250))
    assert many == pytest.approx({"value": 0.25, "low": 0.2231, "high": 0.2768}, abs=2e-3)
    draws = [1.0, *np.linspace(0, 2, 1001)]
    wide, narrow = resampled_interval(draws, 4), resampled_interval(draws, 1000)
    assert wide["high"] - 1 == pytest.approx(0.95 * 3.18 / 1.96 * (4 / 3) ** 0.5, rel=0.02)
    assert narrow["high"] - 1 == pytest.approx(0.95, rel=0.01)


@pytest.mark.parametrize(
    ("correct", "truncated", "reasoning", "found"),
    [
        (0, 1, "so", ["none of 4 answers is right", "4 of 4 answers were cut off"]),
        (1, 0, None, ["none of 4 answers has any reasoning"]),
        (1, 0, "so", []),
    ],
)
def test_what_is_wrong_with_all_answers_is_said(
    correct: int, truncated: int, reasoning: str | None, found: list[str]
) -> None:
    row = {"effort": "low", "correct": correct, "truncated": truncated, "reasoning": reasoning}
    messages = problems_of_outcomes([row] * 4)
    assert len(messages) == len(found)
    assert all(text in message for text, message in zip(found, messages, strict=True))


def test_the_shipped_card_has_the_words_of_the_template(report: dict[str, Any]) -> None:
    shipped = (ROOT / "models" / "demo" / "README.md").read_text()
    demo = read_recipe(ROOT / "models" / "recipes" / "demo.toml")
    rendered = card(demo, report, "", demo.export.stage)
    figures = ("|", "Router:", "1000 held-out", "90 held-out", "95 %")
    words = [
        [
            line
            for line in text.partition("## Recipe")[0].splitlines()
            if line[:6] and not line.startswith(figures)
        ]
        for text in (shipped, rendered)
    ]
    assert words[0] == words[1]
