"""The audit of fixed efforts: its claims hold on traffic whose truth is known."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paths import DATA

from router.evaluation.audit import audit
from router.evaluation.audit_table import audit_table
from router.evaluation.plot import draw_audit
from router.fitting.fixed_efforts import FixedEfforts, certify, dominated, fixed_efforts
from router.fitting.outcomes import Outcome, OutcomeError, OutcomeSet, read_outcomes
from router.fitting.prompts import clusters, prompt_key, template_key
from tops import main

OUTCOMES = DATA / "outcomes"
EFFORTS: tuple[str, ...] = ("low", "medium", "high")


def drawn(
    p: Mapping[str, float], prompts: int, seed: int, tokens: tuple[float, ...] = (50, 200, 800)
) -> FixedEfforts:
    """Efforts of these accuracies; a prompt's difficulty is shared, so that they correlate."""
    rng = np.random.default_rng(seed)
    difficulty = rng.random((prompts, 1))
    own = rng.random((prompts, len(p)))
    level = np.where(rng.random((prompts, len(p))) < 0.7, difficulty, own)
    return FixedEfforts(
        efforts=tuple(p),
        accuracy=(level < np.array(list(p.values()))).astype(float),
        tokens=rng.exponential(np.array(tokens), (prompts, len(p))),
        cluster=np.arange(prompts),
        repeats=np.ones(prompts, dtype=np.intp),
        incomplete=0,
    )


def outcomes(
    prompts: int = 200, copies: int = 1, kind: str | None = None, tag: str = "", samples: int = 1
) -> list[Outcome]:
    """High is right once more than medium, low is right less often.

    `copies`: a prompt is repeated under new ids.
    """
    rng = np.random.default_rng(prompts)
    rows: list[Outcome] = []
    for prompt in range(prompts):
        right, third = rng.random() < 0.8, prompt % 3 > 0
        words = " ".join(rng.choice(["red", "blue", "old", "new", "big", "wet"], 8).tolist())
        for copy in range(copies):
            rows += [
                Outcome(
                    problem_id=f"{tag}{prompt}-{copy}",
                    messages=f"{words} {tag}: {'x' * prompt}?",
                    model="m",
                    effort=effort,
                    sample=sample,
                    correct=int(
                        effort == "high" if prompt == 1 else right and (effort != "low" or third)
                    ),
                    tokens=tokens + prompt % 7 * tokens // 50,
                    weights=None,
                    kind=kind,
                )
                for effort, tokens in zip(EFFORTS, (50, 200, 800), strict=True)
                for sample in range(samples)
            ]
    return rows


def dataset(rows: list[Outcome]) -> OutcomeSet:
    return OutcomeSet(tuple(rows), "m", None, (), 0)


def test_the_certified_loss_holds_with_its_confidence() -> None:
    """Five efforts lose a little too much: in at most a tenth of the logs is any certified."""
    p = {**dict.fromkeys(map(str, range(5)), 0.6699), "best": 0.70}
    tokens = (50, 100, 150, 200, 250, 800)
    broken = sum(
        any(effort != 5 for effort in certify(drawn(p, 400, seed, tokens), 0.03, 0.1))
        for seed in range(300)
    )
    assert broken <= 0.1 * 300 + 2 * np.sqrt(300 * 0.1 * 0.9)


def test_equal_efforts_are_certified_and_the_cheapest_is_recommended() -> None:
    p = dict.fromkeys(EFFORTS, 0.7)
    cheapest = [certify(drawn(p, 1500, seed), 0.05, 0.1)[:1] for seed in range(30)]
    assert cheapest.count((0,)) >= 28


def test_dominated_efforts_are_called_so_and_better_ones_hardly_ever() -> None:
    worse = {"a": 0.60, "b": 0.75, "c": 0.68}
    assert sum(2 in dominated(drawn(worse, 800, seed), 0.1) for seed in range(20)) >= 16
    equal = {"a": 0.60, "b": 0.75, "c": 0.7501}
    wrong = sum(bool(dominated(drawn(equal, 400, seed), 0.1)) for seed in range(200))
    assert wrong <= 0.1 * 200 + 2 * np.sqrt(200 * 0.1 * 0.9)


def test_without_a_difference_in_few_prompts_nothing_is_certified() -> None:
    same = replace(drawn(dict.fromkeys(EFFORTS, 0.7), 60, 0), accuracy=np.ones((60, 3)))
    assert certify(same, 0.01, 0.1) == ()
    few = replace(same, accuracy=same.accuracy[:20], tokens=same.tokens[:20])
    few = replace(few, cluster=np.arange(20))
    assert (certify(few, 0.5, 0.1), dominated(few, 0.1)) == ((), {})


def test_copies_of_prompts_certify_no_more_than_the_prompts() -> None:
    once, often = (audit(dataset(outcomes(120, copies)), 0.02, 0.1) for copies in (1, 5))
    assert (once["prompts"], often["prompts"]) == (120, 120)
    assert (once["problem_ids"], often["problem_ids"]) == (120, 600)
    for key in ("efforts", "differences", "recommended", "certified", "saving"):
        assert once[key] == often[key]
    assert once["warnings"] == []
    assert "600 problem_ids share a prompt" in often["warnings"][0]


def test_samples_of_a_prompt_are_averaged() -> None:
    single = fixed_efforts(outcomes(50), EFFORTS)
    several = fixed_efforts(outcomes(50, samples=4), EFFORTS)
    assert (single.accuracy == several.accuracy).all()
    assert len(several.accuracy) == 50


def image(url: str) -> list[object]:
    part = {"type": "image_url", "image_url": {"url": url}}
    return [{"role": "user", "content": [part, {"type": "text", "text": "What is this?"}]}]


def test_equal_messages_are_one_prompt() -> None:
    text = "What is  12 + 30?\n"
    user = {"role": "user", "content": "What is 12 + 30?"}
    assert prompt_key(text) == prompt_key([user])
    assert prompt_key("caf\u00e9") == prompt_key("cafe\u0301")
    system = {"role": "system", "content": "Be brief."}
    different = [text, "What is 12 + 31?", [system, user], [user, user], image("a"), image("b")]
    assert len({prompt_key(messages) for messages in different}) == len(different)


def test_prompts_that_differ_in_numbers_are_a_template() -> None:
    assert template_key("Ann has 3 pens.") == template_key("ann has 1,200.5 pens.")
    assert template_key("Ann has 3 pens.") != template_key("Bob has 3 pens.")
    assert clusters(["a", "b"] * 2 + [str(n) for n in range(40)])[:4].tolist() == [0, 1, 0, 1]
    large = clusters(["a"] * 5 + [str(n) for n in range(40)])
    assert len(set(large.tolist())) == 45


def test_near_copies_widen_the_intervals() -> None:
    rows = [
        replace(row, problem_id=f"{row.problem_id}/{n}", messages=f"{row.messages} Take {n}.")
        for row in outcomes(100)
        for n in range(4)
    ]
    near = audit(dataset(rows), 0.02, 0.1)
    alone = audit(dataset(outcomes(100)), 0.02, 0.1)
    assert (near["prompts"], near["clusters"]) == (400, 100)
    assert near["efforts"]["low"]["accuracy_ci"] == pytest.approx(
        alone["efforts"]["low"]["accuracy_ci"]
    )


def test_kinds_have_their_own_audit(tmp_path: Path) -> None:
    easy = [
        replace(row, correct=1) if row.effort != "high" else row
        for row in outcomes(500, kind="easy", tag="e")
    ]
    result = audit(dataset(outcomes(400, kind="hard", tag="h") + easy), 0.02, 0.1)
    assert list(result["kinds"]) == ["easy", "hard"]
    assert result["kinds"]["easy"]["recommended"] == "low"
    assert result["kinds"]["easy"]["efforts"]["high"]["dominated_by"] == ["low", "medium"]
    assert result["kinds"]["hard"]["recommended"] == "medium"
    assert result["kinds"]["hard"]["certified"]
    assert result["kinds"]["hard"]["saving"]["share"] == pytest.approx(0.75, abs=0.02)
    assert result["prompts"] == 900
    assert result["kinds"]["easy"]["efforts"]["low"]["accuracy"] == pytest.approx(1)
    draw_audit(result, tmp_path / "kinds.png")
    assert (tmp_path / "kinds.png").stat().st_size > 10_000


def test_what_is_missing_is_said() -> None:
    rows = [row for row in outcomes(60) if row.effort != "low" or row.problem_id > "30"]
    result = audit(dataset(rows), 0.02, 0.1)
    assert result["prompts"] + result["incomplete"] == 60
    assert any("left out" in warning for warning in result["warnings"])
    assert any("too few for a claim" in warning for warning in result["warnings"]) == (
        result["prompts"] < 30
    )
    with pytest.raises(OutcomeError, match="two efforts or more"):
        audit(dataset([row for row in rows if row.effort == "high"]), 0.02, 0.1)


def written(path: Path, rows: list[Outcome]) -> Path:
    names = ("problem_id", "model", "effort", "sample", "correct", "tokens", "kind")
    lines = [{n: getattr(row, n) for n in names} | {"prompt": row.messages} for row in rows]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_where_nothing_can_be_saved_no_saving_is_told() -> None:
    """The cheapest effort is the most accurate, and none takes a token."""
    rows = [replace(row, correct=int(row.effort == "low"), tokens=0) for row in outcomes()]
    text = audit_table(audit(dataset(rows), 0.02, 0.1))
    assert "recommended: high, the most accurate" not in text
    assert "saved 0.0% [0.0%, 0.0%]" in text
    same = [replace(row, correct=1) for row in outcomes()]
    text = audit_table(audit(dataset(same), 0.02, 0.1))
    assert "recommended: low, the most accurate and the cheapest" in text


def test_the_command_prints_text_json_and_a_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(written(tmp_path / "o.jsonl", outcomes(400, kind="sums")))
    assert main(["audit", path, "--max-loss", "0.02"]) == 0
    text = capsys.readouterr().out
    assert "m: 400 distinct prompts\n" in text
    assert "medium - low" in text
    assert "kind sums" in text
    assert "recommended: medium, certified to lose at most 0.02" in text
    plot = tmp_path / "audit.png"
    assert main(["audit", path, "--json", "--max-loss", "0.02", "--plot", str(plot)]) == 0
    result: Any = json.loads(capsys.readouterr().out)
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert (result["model"], result["max_loss"], result["confidence"]) == ("m", 0.02, 0.9)
    assert set(result["kinds"]["sums"]) < set(result)
    pairs = [(pair["effort"], pair["minus"]) for pair in result["differences"]]
    assert pairs == [("medium", "low"), ("high", "low"), ("high", "medium")]
    for pair in result["differences"]:
        assert pair["accuracy_ci"][0] <= pair["accuracy"] <= pair["accuracy_ci"][1]
        assert 0 < pair["saved_share_ci"][0] <= pair["saved_share"] <= pair["saved_share_ci"][1]
        assert pair["tokens_ci"][0] <= pair["tokens"] <= pair["tokens_ci"][1]
    low, high = result["saving"]["share_ci"]
    assert low <= result["saving"]["share"] <= high
    assert main(["audit", "absent", "--plot", str(tmp_path / "audit.txt")]) == 1
    assert main(["audit", str(tmp_path / "none.jsonl")]) == 1
    assert "cannot be opened" in capsys.readouterr().err


def test_a_pair_of_files_may_have_kinds_and_messages_in_the_problems(tmp_path: Path) -> None:
    (tmp_path / "o.problems.jsonl").write_text(
        '{"problem_id": "a", "messages": [{"role": "user", "content": "hi"}], "kind": "chat"}\n'
        '{"problem_id": "b", "prompt": "hello"}\n'
    )
    rows = "a,m,low,1,5,\nb,m,low,1,5,sums\nb,m,high,1,5,\n"
    (tmp_path / "o.outcomes.csv").write_text(f"problem_id,model,effort,correct,tokens,kind\n{rows}")
    read = read_outcomes([tmp_path / "o.outcomes.csv"])
    assert [outcome.kind for outcome in read.outcomes] == ["chat", "sums", None]
    assert prompt_key(read.outcomes[0].messages) == prompt_key("hi")


@pytest.mark.skipif(not OUTCOMES.is_dir(), reason="the shared outcomes are not on this machine")
def test_a_real_log_shows_what_cheaper_efforts_cost() -> None:
    path = OUTCOMES / "jhu_concise_cot.outcomes.csv.gz"
    result = audit(read_outcomes([path], "gpt-4"), 0.02, 0.1)
    assert (result["problem_ids"], result["prompts"]) == (1100, 1000)
    assert result["recommended"] == "concise_cot"
    assert result["certified"]
    assert result["saving"]["share_ci"][0] > 0.7
