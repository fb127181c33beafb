"""Logs that evaluation tools and the gateway wrote, beside outcome files."""

import gzip
import io
import json
import sqlite3
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from ledgers import connect
from sqlalchemy import insert
from test_server_ledger import postgres

from router.commands import audit_command, fit_command
from router.evaluation.audit import audit
from router.fitting.outcomes import Outcome, OutcomeError, OutcomeSet, read_outcomes
from router.logs import json_document
from router.logs.configured_effort import configured_effort
from router.logs.inspect_log import served_name
from router.logs.json_document import members
from router.logs.log_options import LogOptions
from router.logs.zstandard import open_zstandard, zipfile
from server.ledger.schema import metadata, requests

__all__ = ["postgres"]

LOGS = Path(__file__).parent / "evaluation_logs"
INSPECT, HARNESS = LOGS / "inspect", LOGS / "harness"
LOW, HIGH, SEVERAL = INSPECT / "low.eval", INSPECT / "high.eval", INSPECT / "several.json.gz"
STRICT = LogOptions(scores=("exact_match,strict",))


def by_effort(reading: OutcomeSet) -> Counter[str]:
    return Counter(outcome.effort for outcome in reading.outcomes)


def refused(*paths: str | Path, options: LogOptions | None = None, model: str | None = None) -> str:
    with pytest.raises(OutcomeError) as caught:
        read_outcomes(paths, model, options)
    return str(caught.value)


def member(log: Path, name: str) -> Any:
    """A JSON object of an `.eval` archive."""
    with zipfile.ZipFile(log) as archive:
        return json.loads(archive.read(name))


def archive(log: Path, path: Path, keep: str = "", **changes: object) -> Path:
    """A copy of an `.eval` archive with Python's own compression and changed samples."""
    with zipfile.ZipFile(log) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            content = member(log, name)
            if name.startswith("samples/"):
                content |= changes
            if name.startswith(("samples/", keep)):
                new.writestr(name, json.dumps(content))
    return path


def test_runs_of_inspect_join_by_sample() -> None:
    reading = read_outcomes([LOW, HIGH])
    assert (reading.model, reading.warnings, reading.skipped) == ("demo", (), 0)
    assert by_effort(reading) == {"low": 4, "high": 4}
    assert len({outcome.problem_id for outcome in reading.outcomes}) == 4
    sample = member(LOW, "samples/fe6e678662bb_epoch_1.json")
    outcome = next(o for o in reading.outcomes if o.problem_id == "stories/fe6e678662bb")
    assert outcome.messages == [{"role": "user", "content": sample["input"]}]
    assert outcome.tokens == sample["output"]["usage"]["reasoning_tokens"]
    assert outcome.correct == 0
    assert sample["scores"]["match"]["value"] == "I"


def test_of_several_scores_one_is_chosen_by_name() -> None:
    assert "choose one with --score: graded.part | graded.same | match" in refused(SEVERAL)
    assert "no score is named nix; --score takes" in refused(
        SEVERAL, options=LogOptions(scores=["nix"])
    )
    partial = read_outcomes([SEVERAL], options=LogOptions(scores=["graded.part"]))
    assert {outcome.correct for outcome in partial.outcomes} == {0.5}


def test_epochs_are_samples_errors_are_counted_and_graders_cost_nothing() -> None:
    reading = read_outcomes([SEVERAL], options=LogOptions(scores=["match"]))
    assert by_effort(reading) == {"budget-16": 5}
    assert reading.warnings == ("1 samples that ended in an error skipped",)
    assert Counter(outcome.sample for outcome in reading.outcomes) == {0: 3, 1: 2}
    samples = json.loads(gzip.decompress(SEVERAL.read_bytes()))["samples"]
    answers = sum(s["output"]["usage"]["reasoning_tokens"] for s in samples if not s.get("error"))
    graded = sum(
        usage["reasoning_tokens"]
        for s in samples
        if not s.get("error")
        for usage in s["model_usage"].values()
    )
    assert sum(outcome.tokens for outcome in reading.outcomes) == answers < graded
    roles = [[turn["role"] for turn in outcome.messages] for outcome in reading.outcomes]  # pyright: ignore
    assert roles == [["system", "user"]] * 5


def test_a_log_without_events_counts_the_sample_s_usage(tmp_path: Path) -> None:
    usage = {"openai-api/tops/demo": {"output_tokens": 90, "reasoning_tokens": 70}}
    bare = archive(LOW, tmp_path / "x.eval", "header", events=[], model_usage=usage)
    assert {outcome.tokens for outcome in read_outcomes([bare]).outcomes} == {70}


def test_an_interrupted_log_gives_what_it_has(tmp_path: Path) -> None:
    log = archive(LOW, tmp_path / "x.eval", "_journal/start.json")
    assert read_outcomes([log]).outcomes == read_outcomes([LOW]).outcomes


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"scores": None}, "4 samples without a score"),
        ({"scores": {"match": {"value": float("nan")}}}, "4 samples without a score"),
        ({"invalidation": {"reason": "x"}}, "4 samples that were invalidated"),
        ({"scores": {"match": {"value": 7}}}, "'7' is neither C, I, P, N"),
        ({"scores": {"match": {"value": [1, 0]}}}, "is neither C, I, P, N"),
    ],
)
def test_samples_without_a_usable_score(
    tmp_path: Path, changes: dict[str, object], reason: str
) -> None:
    assert reason in refused(archive(LOW, tmp_path / "x.eval", "header", **changes))


@pytest.mark.parametrize(
    ("value", "correct"), [("N", 0), ("P", 0.5), (True, 1), ("yes", 1), ("0", 0), (0.25, 0.25)]
)
def test_scores_of_every_kind(tmp_path: Path, value: object, correct: float) -> None:
    log = archive(LOW, tmp_path / "x.eval", "header", scores={"match": {"value": value}})
    assert {outcome.correct for outcome in read_outcomes([log]).outcomes} == {correct}


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.eval"
    path.write_bytes(LOW.read_bytes()[:9000])
    assert "truncated or damaged" in refused(path)
    data = bytearray(LOW.read_bytes())
    data[1500:1600] = bytes(100)
    path.write_bytes(data)
    assert "truncated or damaged" in refused(path)
    with zipfile.ZipFile(path, "w") as plain:
        plain.writestr("x.txt", "x")
    assert "no log of Inspect AI" in refused(path)
    document = tmp_path / "x.json"
    document.write_bytes(gzip.decompress(SEVERAL.read_bytes())[:-9000])
    message = refused(document, options=LogOptions(scores=["match"]))
    assert "truncated or damaged" in message


def test_filters_of_the_harness_are_scores() -> None:
    assert "exact_match,last-number | exact_match,strict" in refused(HARNESS)
    assert "exact_match,last-number | exact_match,strict" in refused(
        HARNESS, options=LogOptions(scores=["exact_match"])
    )
    reading = read_outcomes([HARNESS], options=STRICT)
    assert by_effort(reading) == {"low": 4, "high": 4}
    assert reading.model == "demo"
    assert reading.skipped == 0
    assert "8 rows of lm-evaluation-harness have tokens that are estimated" in reading.warnings[0]
    first = reading.outcomes[0]
    assert "There are 29 shells" in str(first.messages)
    assert "user" in str(first.messages)
    assert first.tokens == 5  # "The answer is 30." has 17 bytes


def samples(folder: Path, changes: Mapping[str, object], configuration: object = None) -> Path:
    """A samples file with changed rows, behind its first filter."""
    old = next((HARNESS / "low").glob("samples*"))
    rows = [json.loads(line) for line in old.read_text().splitlines()]
    rows = [{**row, **changes} for row in rows if row["filter"] == "strict"]
    folder.mkdir(exist_ok=True)
    path = folder / old.name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    if configuration is not None:
        results = folder / old.name.replace("samples_stories", "results").replace("jsonl", "json")
        results.write_text(json.dumps({"results": {}, "config": configuration}))
    return path


def test_thinking_in_a_response_is_counted_apart(tmp_path: Path) -> None:
    demo = {"model_args": "model=demo"}
    path = samples(tmp_path, {"resps": [["<think>" + "x" * 33 + "</think>Four."]]}, demo)
    assert {outcome.tokens for outcome in read_outcomes([path]).outcomes} == {10}
    path = samples(tmp_path, {"resps": [[["-1.5", "False"]]]}, demo)
    assert "4 rows without a generated text (loglikelihood tasks)" in refused(path)


def test_tokens_are_counted_by_a_tokenizer(tmp_path: Path) -> None:
    tokenizer: dict[str, object] = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [],
        "normalizer": None, "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": None,
        "decoder": None, "model": {"type": "WordLevel", "vocab": {"x": 0}, "unk_token": "x"},
    }  # fmt: skip
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer))
    options = LogOptions.of(["exact_match,strict"], [], str(tmp_path))
    reading = read_outcomes([HARNESS], options=options)
    assert {outcome.tokens for outcome in reading.outcomes} == {4}
    assert not reading.warnings
    with pytest.raises(OutcomeError, match="--tokenizer"):
        LogOptions.of([], [], str(tmp_path / "nix.json"))


def test_a_samples_file_alone_needs_its_model_s_name(tmp_path: Path) -> None:
    path = samples(tmp_path, {})
    assert "name the model with --model" in refused(path)
    assert read_outcomes([path], "mine").model == "mine"
    path = samples(tmp_path, {}, {"model_args": 'pretrained=org/m,chat_template_args={"a": 1}'})
    assert read_outcomes([path]).model == "org/m"


def test_a_log_that_names_no_effort_needs_one(tmp_path: Path) -> None:
    none: dict[str, object] = {"arguments": {"gen_args_0": {"arg_0": "x", "arg_1": {}}}}
    path = samples(tmp_path, none, {"model_args": {"model": "demo"}})
    assert f"--effort {path.name}=high" in refused(path)
    given = LogOptions.of([], ["max", f"{path.name}=low"], None)
    assert by_effort(read_outcomes([path], options=given)) == {"low": 4}
    assert by_effort(read_outcomes([path, LOW], options=LogOptions.of([], ["max"], None))) == {
        "max": 4,
        "low": 4,
    }
    with pytest.raises(OutcomeError, match="twice for all logs"):
        LogOptions.of([], ["max", "low"], None)


@pytest.mark.parametrize(
    ("configuration", "effort"),
    [
        ({"reasoning_effort": "low"}, "low"),
        ({"reasoning_effort": "none"}, "none"),
        ({"effort": "max"}, "max"),
        ({"reasoning_effort": None, "reasoning_tokens": 4096}, "budget-4096"),
        ({"reasoning_effort": "high", "reasoning_tokens": 4096}, "high-budget-4096"),
        ({"reasoning_tokens": 0}, "none"),
        ({"thinking_token_budget": -1}, None),
        ({"extra_body": {"chat_template_kwargs": {"enable_thinking": False}}}, "none"),
        ({"extra_body": {"chat_template_kwargs": {"thinking_budget": 512}}}, "budget-512"),
        ({"extra_body": {"reasoning": {"effort": "medium"}}}, "medium"),
        ({"extra_body": {"reasoning": {"max_tokens": 99}}}, "budget-99"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "budget-1024"),
        ({"thinking": {"type": "disabled"}}, "none"),
        ("model=m,enable_thinking=True", "high"),
        ('model=m,chat_template_args={"enable_thinking": false, "x": 1}', "none"),
        ("reasoning_effort=xhigh,temperature=0.6", "xhigh"),
        ({"temperature": 1}, None),
        ("", None),
        (None, None),
    ],
)
def test_efforts_in_every_spelling(configuration: object, effort: str | None) -> None:
    assert configured_effort(configuration) == effort
    assert configured_effort({}, configuration, {"effort": "low"}) == (effort or "low")


@pytest.mark.parametrize(
    ("name", "served"),
    [
        ("openai/gpt-5-mini", "gpt-5-mini"),
        ("openai-api/tops/demo", "demo"),
        ("vllm/Qwen/Qwen3-8B", "Qwen/Qwen3-8B"),
        ("openrouter/openai/gpt-5", "openai/gpt-5"),
        ("anthropic/bedrock/anthropic.claude", "anthropic.claude"),
        ("demo", "demo"),
    ],
)
def test_models_have_the_names_under_which_they_are_served(name: str, served: str) -> None:
    assert served_name(name) == served


def test_runs_are_samples_and_the_same_log_counts_once(tmp_path: Path) -> None:
    copied = tmp_path / "copy.eval"
    copied.write_bytes(LOW.read_bytes())
    reading = read_outcomes([LOW, copied])
    assert len(reading.outcomes) == 4
    assert any("4 repeated rows skipped" in warning for warning in reading.warnings)
    again = archive(LOW, tmp_path / "again.eval", "header", uuid="another")
    assert len(read_outcomes([LOW, again]).outcomes) == 8


def test_an_id_with_another_question_is_another_problem(tmp_path: Path) -> None:
    shuffled = archive(HIGH, tmp_path / "x.eval", "header", input="another question")
    problems = {outcome.problem_id for outcome in read_outcomes([LOW, shuffled]).outcomes}
    assert len(problems) == 8


def outcome_row(problem: str, effort: str, **changes: object) -> dict[str, object]:
    row = {"problem_id": problem, "prompt": f"prompt of {problem}", "model": "demo"}
    return {**row, "effort": effort, "correct": 1, "tokens": 9, "weights": "w", **changes}


def test_logs_are_known_by_content_and_mix_with_outcome_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(LOW.read_bytes())
    (tmp_path / "b").write_bytes(gzip.decompress(SEVERAL.read_bytes()))
    compact = json.loads(gzip.decompress(SEVERAL.read_bytes()))
    (tmp_path / "c.log").write_text(json.dumps(compact, separators=(",", ":")))
    lines = next((HARNESS / "high").glob("samples*")).read_bytes()
    packed = tmp_path / "samples_stories_2026-01-01T00-00-00.1.jsonl.zst"
    with open_zstandard(packed, "wb") as stream:
        stream.write(lines[:5_000])
    with open_zstandard(packed, "ab") as stream:  # a second frame
        stream.write(lines[5_000:])
    rows = [outcome_row(f"p{n}", effort) for n in range(3) for effort in ("low", "high")]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "notes.md").write_text("# no outcomes")
    options = LogOptions(scores=["match", "exact_match,strict"])
    reading = read_outcomes([tmp_path], "demo", options)
    assert by_effort(reading) == {"low": 7, "high": 7, "budget-16": 5}
    assert reading.weights == "w"
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "no file in this folder holds outcomes" in refused(empty)


def test_tasks_are_the_kinds_of_an_audit(tmp_path: Path) -> None:
    options = LogOptions(scores=["match"])
    assert not audit(read_outcomes([LOW, HIGH], for_audit=True), 0.01, 0.1)["kinds"]
    rows = [outcome_row(f"p{n}", effort) for n in range(3) for effort in ("low", "high")]
    path = tmp_path / "d.jsonl"
    path.write_text("".join(json.dumps({**row, "kind": "chat"}) + "\n" for row in rows))
    result = audit(read_outcomes([LOW, HIGH, path], "demo", options, for_audit=True), 0.01, 0.1)
    assert set(result["kinds"]) == {"stories", "chat"}
    kinds = {outcome.kind for outcome in read_outcomes([LOW, HIGH, path], "demo").outcomes}
    assert kinds == {None, "chat"}  # no request has a task


def test_a_large_object_is_read_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_document, "_CHUNK", 3)
    value = {
        "a": 12,
        "b": {"x": [1, "]}", None]},
        "rows": [{"n": n, "t": 'é\\"'} for n in range(5)],
    }
    for text in (json.dumps(value), json.dumps(value, indent=2, ensure_ascii=False) + "\n"):
        read = list(members(io.StringIO(text), streamed=["rows"]))
        assert read == [("a", 12), ("b", value["b"]), *(("rows", row) for row in value["rows"])]  # pyright: ignore
        with pytest.raises(ValueError, match=r".+"):
            list(members(io.StringIO(text.rstrip()[:-2]), streamed=["rows"]))
    assert list(members(io.StringIO('{"rows": [], "n": NaN}'), ["rows"])) == [("n", None)]


COLUMNS = {
    "at": 0.0, "model": "demo", "key": "k", "source": "request", "baseline": "high",
    "calibrated": True, "features": 1, "choices": 1, "seconds": 1.0, "status": 200, "reason": "x",
}  # fmt: skip


def written(url: str) -> str:
    """A new ledger of forty problems at two efforts, and two requests that are no outcomes.

    Problems are named by x-request-id. One of the two has no feedback, the other was served at a
    composite effort.
    """
    engine = connect(url)
    metadata.drop_all(engine)
    metadata.create_all(engine)
    rows: list[dict[str, object]] = [
        {
            "request_id": f"p{n}", "effort": effort, "thinking_tokens": tokens * 2,
            "answer_tokens": 8, "score": float(n % 2 or effort == "high"), "choices": 2,
        }
        for n in range(40)
        for effort, tokens in (("low", 5), ("high", 50))
    ]  # fmt: skip
    rows.append({"request_id": "q", "effort": "low", "thinking_tokens": 1, "answer_tokens": 1})
    rows.append({**rows[0], "effort": "stop:low@8:high"})
    with engine.begin() as connection:
        for row in rows:
            connection.execute(insert(requests).values({**COLUMNS, **row}))
    engine.dispose()
    return url


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    written(f"sqlite:///{tmp_path}/ledger.db")
    return tmp_path / "ledger.db"


@pytest.mark.parametrize("encoding", ["UTF8", "SQL_ASCII"])
def test_a_ledger_in_postgres_is_read(postgres: str, encoding: str) -> None:
    """SQL_ASCII is the encoding of a server that was set up under LC_ALL=C."""
    create = f"CREATE DATABASE {encoding} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0"
    with psycopg.connect(postgres.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(create)
    url = postgres.replace("/postgres", f"/{encoding.lower()}")
    reading = read_outcomes([written(url)], for_audit=True)
    assert by_effort(reading) == {"low": 40, "high": 40}


def test_requests_with_feedback_are_audited(ledger: Path) -> None:
    for source in (str(ledger), f"sqlite:///{ledger}"):
        reading = read_outcomes([source], for_audit=True)
        assert by_effort(reading) == {"low": 40, "high": 40}
        assert reading.warnings == (
            "1 requests of the ledger without feedback skipped",
            "1 requests of the ledger at a composite effort skipped",
        )
    output = CliRunner().invoke(audit_command, [f"sqlite:///{ledger}", "--json"]).output
    efforts = json.loads(output.partition("{")[1] + output.partition("{")[2])["efforts"]
    figures = [efforts[effort][name] for effort in efforts for name in ("tokens", "accuracy")]
    assert figures == pytest.approx([5, 0.5, 50, 1])


def test_a_fit_to_a_ledger_needs_the_prompts(ledger: Path, tmp_path: Path) -> None:
    url, router = f"sqlite:///{ledger}", tmp_path / "router.json"
    result = CliRunner().invoke(fit_command, [url, "--out", str(router)])
    assert result.exit_code == 1
    assert "no row has a prompt, and a router learns from prompts" in result.output
    problems = tmp_path / "prompts.jsonl"
    rows = [{"problem_id": f"p{n}", "prompt": f"What is {n} + {n % 7}?"} for n in range(40)]
    problems.write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = CliRunner().invoke(fit_command, [url, str(problems), "--out", str(router)])
    assert result.exit_code == 0, result.output
    assert json.loads(router.read_text())["efforts"] == ["low", "high"]


def test_a_ledger_whose_requests_are_never_the_same_problem(ledger: Path) -> None:
    with closing(sqlite3.connect(ledger)) as connection, connection:
        connection.execute("UPDATE requests SET request_id = id")
    connection.close()
    with pytest.raises(OutcomeError, match="share an x-request-id"):
        audit(read_outcomes([ledger], for_audit=True), 0.01, 0.1)


def test_a_database_that_is_no_ledger(ledger: Path, tmp_path: Path) -> None:
    assert "there is no ledger" in refused(f"sqlite:///{tmp_path}/nix.db")
    assert not (tmp_path / "nix.db").exists()
    assert "mysql://... is no ledger" in refused("mysql://user:secret@host/name")
    message = refused("postgresql+psycopg://user:secret@127.0.0.1:1/name")
    assert "secret" not in message
    with closing(sqlite3.connect(ledger)) as connection, connection:
        connection.execute("DROP TABLE requests")
    connection.close()
    assert "has no table requests" in refused(ledger)
    ledger.write_bytes(b"SQLite format 3\0" + bytes(600))
    assert "cannot be read" in refused(ledger)


def test_a_score_outside_of_its_range_is_a_broken_row(ledger: Path) -> None:
    with closing(sqlite3.connect(ledger)) as connection, connection:
        connection.execute("UPDATE requests SET score = 3 WHERE id = 1")
    connection.close()
    reading = read_outcomes([ledger], for_audit=True)
    assert "score 3.0 is not from 0 to 1" in reading.warnings[0]
    assert isinstance(reading.outcomes[0], Outcome)
