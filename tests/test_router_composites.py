"""Composite efforts as columns of the outcome table: expectations, when a fit has one, the file."""

import dataclasses
import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from router.artifact import ArtifactError, load, save
from router.composite import Composite, parse_composite
from router.evaluation.replay import replay
from router.fitting.composites import candidates, extended, gains, promising
from router.fitting.fit import Fitted, fit
from router.fitting.outcomes import Outcome, OutcomeSet, read_outcomes
from router.fitting.table import tabulate
from router.policy import Policy
from router.router import Router

NOUNS = ("tram", "kettle", "garden", "ledger", "harbour", "violin", "parcel", "meadow")
LOW_PRICE = Policy("price", price=0.5)


def hidden(problems: int, telling: bool = True, thinking: bool = True) -> OutcomeSet:
    """Outcomes of problems half of which are hard, which the prompts do not show.

    Low effort answers the easy half at 50 thinking tokens; on the hard half it thinks 300 and
    fails. High effort always answers, at 1,000. Where the tokens are not `telling`, they have
    nothing to do with success.
    """
    rng = np.random.default_rng(0)
    rows: list[Outcome] = []
    for index in range(problems):
        text = f"{' '.join(rng.choice(NOUNS, 4))} {index}"
        hard = bool(rng.random() < 0.5)
        for sample in range(2):
            long = hard if telling else bool(rng.random() < 0.5)
            spent = int((300 if long else 50) * np.exp(0.2 * rng.normal()))
            low = Outcome(str(index), text, "m", "low", sample, int(not hard), spent, None)
            high = dataclasses.replace(low, effort="high", correct=1, tokens=1000)
            rows += [low, high]
    return OutcomeSet(tuple(rows), "m", None, (), 0, thinking)


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    """A fit that wins by a composite."""
    return fit(hidden(400))


def test_a_column_is_the_expectation_over_pairs_of_samples() -> None:
    """By hand: two cheap samples, of which one hits the budget of 100, and three dear ones."""
    outcomes = [
        Outcome("a", "a question", "m", effort, sample, correct, tokens, None)
        for effort, sample, correct, tokens in (
            ("low", 0, 1, 40),
            ("low", 1, 0, 100),
            ("high", 0, 1, 400),
            ("high", 1, 1, 500),
            ("high", 2, 0, 900),
        )
    ]
    table = extended(
        tabulate(outcomes, ("low", "high")),
        [Composite("stop", "low", 100, "high"), Composite("cap", "high", 450, "low")],
    )
    assert table.efforts == ("low", "high", "stop:low@100:high", "cap:high@450:low")
    assert table.accuracy[0, 2] == pytest.approx((1 + 2 / 3) / 2)
    assert table.tokens[0, 2] == pytest.approx((40 + 100 + 600) / 2)
    assert table.accuracy[0, 3] == pytest.approx((1 + 1 / 2 + 1 / 2) / 3)
    assert table.tokens[0, 3] == pytest.approx((400 + 2 * (450 + 70)) / 3)
    assert np.array_equal(table.counts[0], [2, 3, 2, 3])


def test_problems_without_the_final_effort_have_no_column() -> None:
    outcomes = [Outcome(p, p, "m", "low", 0, 1, 40, None) for p in ("a question", "another one")]
    outcomes.append(Outcome("a question", "a question", "m", "high", 0, 1, 90, None))
    table = extended(tabulate(outcomes), [Composite("stop", "low", 10, "high")])
    assert np.array_equal(table.complete, [True, False])
    assert np.isnan(table.tokens[1, 2])


def test_the_gain_is_over_the_mixture_at_equal_tokens() -> None:
    """A column between two efforts counts against their line, a dearer one against the best."""
    accuracy, tokens = np.array([[0.4, 0.8, 0.7]]), np.array([[100.0, 300.0, 200.0]])
    assert gains(accuracy, tokens)[0] == pytest.approx(0.1)
    assert gains(accuracy, np.array([[100.0, 300.0, 400.0]]))[0] == pytest.approx(-0.1)
    assert gains(accuracy, np.array([[100.0, 300.0, 50.0]]))[0] == pytest.approx(0.3)


def test_budgets_are_those_that_an_engine_can_keep() -> None:
    """An effort that does not think is never the initial one: no budget would be hit."""
    rows = [
        dataclasses.replace(o, effort="none", tokens=0) if o.effort == "low" else o
        for o in hidden(40).outcomes
    ]
    names = {(c.kind, c.initial) for c in candidates(tabulate(rows))}
    assert names == {("cap", "high")}


def test_a_fit_wins_by_stop(fitted: Fitted) -> None:
    (composite,) = fitted.artifact.composites
    assert (composite.kind, composite.initial, composite.final) == ("stop", "low", "high")
    prices = fitted.artifact.composite_prices
    assert prices is not None
    assert min(p.tokens for p in prices.frontier if p.accuracy > 0.97) < 900
    assert fitted.artifact.parameters.p_bias.shape == (3,)


def test_the_efforts_are_estimated_as_without(fitted: Fitted) -> None:
    """Requests without composite efforts are served as by a fit without: estimates and prices."""
    plain = fit(dataclasses.replace(hidden(400), thinking=False)).artifact
    assert not plain.composites
    assert plain.composite_prices is None
    assert plain.prices == fitted.artifact.prices
    text = "tram kettle violin tram 77"
    with_it = Router(("low", "high"), "high", fitted.artifact).route(text, None, LOW_PRICE)
    without = Router(("low", "high"), "high", plain).route(text, None, LOW_PRICE)
    assert with_it.estimate is not None
    assert without.estimate is not None
    assert with_it.effort == without.effort
    assert with_it.estimate.difficulty == pytest.approx(without.estimate.difficulty)
    assert with_it.estimate.budget == without.estimate.budget
    assert with_it.estimate.p_correct["high"] == pytest.approx(without.estimate.p_correct["high"])


def test_there_is_none_that_does_not_win() -> None:
    """Tokens that tell nothing, completion tokens, and few problems."""
    assert not promising(tabulate(hidden(300, telling=False).outcomes))
    assert not fit(hidden(150)).artifact.composites


def test_a_route_has_one_only_where_it_may(fitted: Fitted) -> None:
    router = Router(("low", "high"), "high", fitted.artifact)
    text = "tram kettle violin tram 77"
    route = router.route(text, None, LOW_PRICE, composites=True)
    assert route.composite == fitted.artifact.composites[0]
    assert route.effort == fitted.artifact.composites[0].name
    assert route.effort in route.reason
    assert router.route(text, None, LOW_PRICE).composite is None
    assert router.route(text, ["high"], LOW_PRICE, composites=True).effort == "high"


def test_the_file_has_the_composite(fitted: Fitted, tmp_path: Path) -> None:
    path = tmp_path / "router.json"
    save(fitted.artifact, path)
    again = load(path)
    assert again.composites == fitted.artifact.composites
    assert again.composite_prices == fitted.artifact.composite_prices
    assert again.columns == ("low", "high", fitted.artifact.composites[0].name)
    text = "tram kettle violin tram 77"
    routes = [
        Router(("low", "high"), "high", artifact).route(text, None, LOW_PRICE, composites=True)
        for artifact in (fitted.artifact, again)
    ]
    assert routes[0].effort == routes[1].effort
    document = json.loads(path.read_text())
    document["composites"]["names"] = ["stop:low@60:medium"]
    path.write_text(json.dumps(document))
    with pytest.raises(ArtifactError, match="damaged"):
        load(path)


@pytest.mark.parametrize("name", ["stop:low@0:high", "stop:low@5:low", "low", "halt:low@5:high"])
def test_names_of_no_composite_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no composite"):
        parse_composite(name)
    assert parse_composite("cap:high@450:low") == Composite("cap", "high", 450, "low")


def test_tokens_are_comparable_only_if_all_are_thinking_tokens(tmp_path: Path) -> None:
    row = {"problem_id": "1", "prompt": "a question", "model": "m", "correct": 1, "tokens": 9}
    lines = [{**row, "effort": "low", "thinking_tokens": 5}, {**row, "effort": "high"}]
    path = tmp_path / "outcomes.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    assert not read_outcomes([path]).thinking
    path.write_text(json.dumps(lines[0]))
    assert read_outcomes([path]).thinking


def test_a_replay_counts_both_attempts(fitted: Fitted) -> None:
    """Against the fixed efforts only; completion tokens would not be comparable with budgets."""
    name = fitted.artifact.composites[0].name
    replayed = cast("dict[str, Any]", replay(fitted.artifact, hidden(200), LOW_PRICE))
    assert replayed["policy"]["efforts"][name] > 0.9
    assert replayed["policy"]["accuracy"] > 0.95
    assert 50 < replayed["policy"]["tokens"] < 1000
    assert not [baseline for baseline in replayed["baselines"] if name in baseline]
    completion = cast(
        "dict[str, Any]", replay(fitted.artifact, hidden(200, thinking=False), LOW_PRICE)
    )
    assert set(completion["policy"]["efforts"]) == {"low", "high"}
