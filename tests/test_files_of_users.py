"""Files that spreadsheets, editors and pandas wrote: byte order marks, NaN for what is missing."""

import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from paths import ROOT

from loadtest.conversations import read_conversations
from loadtest.plan import Problems, read_plan
from loadtest.record_file import read_records
from loadtest.traces import read_trace
from models.outcomes.problem_sets import ProblemError, read_problems
from models.training.examples import read_rows
from models.training.recipe_file import read_recipe
from router.fitting.outcomes import OutcomeError, OutcomeSet, read_outcomes
from router.prompt_lines import read_prompts
from server.config.engine_command import check_engine_command
from server.config.load_settings import SettingsError
from server.config.settings import DEMO, Settings
from server.embedded.checkpoint import Checkpoint, CheckpointError

MARK = b"\xef\xbb\xbf"
OUTCOME = {"problem_id": "p", "prompt": "1?", "model": "m", "effort": "low", "correct": 1}
OUTCOME |= {"tokens": 12, "thinking_tokens": 5, "sample": 0}
PROBLEM = {"problem_id": "p", "prompt": "1 + 1?", "answer": "2"}
RECIPE = 'name = "n"\n[model]\nbase = "b"\n[seed]\nsource = "stories"\n'
RECORD = {"task": 0, "arm": "a", "problem_id": "p", "scheduled_at": 0.0, "budget": None}

READERS: dict[str, tuple[str, str, Callable[[Path], object]]] = {
    "outcomes": ("o.jsonl", json.dumps(OUTCOME), lambda file: read_outcomes([file]).outcomes[0]),
    "problems": ("p.jsonl", json.dumps(PROBLEM), lambda file: read_problems(str(file))[0]),
    "examples": ("e.jsonl", json.dumps(PROBLEM), lambda file: next(read_rows(file))),
    "recipe": ("r.toml", RECIPE, read_recipe),
    "plan": ("p.toml", (ROOT / "loadtest/plans/smoke.toml").read_text(), read_plan),
    "trace": ("t.csv", "scheduled_at,x\n1,2\n2,2\n", lambda file: len(read_trace(file).times)),
    "trace lines": ("t.jsonl", '{"timestamp": 1}\n', lambda file: len(read_trace(file).times)),
    "load problems": (
        "c.jsonl",
        json.dumps(PROBLEM),
        lambda file: read_conversations(Problems(file=file), [])[0],
    ),
}


@pytest.mark.parametrize("name", READERS)
def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path: Path, name: str) -> None:
    file_name, text, read = READERS[name]
    file = tmp_path / file_name
    file.write_bytes(MARK + f"{text}\n".encode())
    marked = read(file)
    file.write_bytes(f"{text}\n".encode())
    assert marked == read(file)


def csv_outcomes(folder: Path, *rows: str, mark: bytes = b"") -> OutcomeSet:
    (folder / "x.problems.jsonl").write_bytes(mark + json.dumps(PROBLEM).encode())
    header = "problem_id,model,effort,sample,correct,tokens,thinking_tokens"
    file = folder / "x.outcomes.csv.gz"
    file.write_bytes(gzip.compress(mark + "\r\n".join([header, *rows]).encode()))
    return read_outcomes([file])


def test_a_byte_order_mark_costs_no_row_of_a_csv_file(tmp_path: Path) -> None:
    read = csv_outcomes(tmp_path, "p,m,low,0,1,12,5", "p,m,low,1,1,12,5", mark=MARK)
    assert (len(read.outcomes), read.warnings) == (2, ())


@pytest.mark.parametrize("missing", ["", "NaN", "nan", "NA", "<NA>", "None", "null"])
def test_missing_numbers_of_a_csv_file_are_null(tmp_path: Path, missing: str) -> None:
    read = csv_outcomes(tmp_path, f"p,m,low,0.0,1.0,12.0,{missing}", f"p,m,low,1,1,{missing},")
    assert [outcome.tokens for outcome in read.outcomes] == [12]
    assert read.warnings == ("1 rows without tokens skipped",)


def outcomes(folder: Path, *changes: dict[str, object]) -> OutcomeSet:
    rows = [json.dumps({**OUTCOME, "sample": n, **change}) for n, change in enumerate(changes)]
    (folder / "o.jsonl").write_text("\n".join(rows))
    return read_outcomes([folder / "o.jsonl"])


def test_nan_is_null_where_null_is_allowed(tmp_path: Path) -> None:
    nan = float("nan")
    read = outcomes(tmp_path, {"thinking_tokens": nan, "weights": nan, "messages": nan, "x": nan})
    assert (read.outcomes[0].tokens, read.outcomes[0].messages) == (12, "1?")
    assert read.weights is None


@pytest.mark.parametrize(
    ("field", "value"),
    [("correct", float("nan")), ("problem_id", float("nan")), ("thinking_tokens", float("inf"))],
)
def test_nan_and_infinity_elsewhere_are_named_with_their_line(
    tmp_path: Path, field: str, value: float
) -> None:
    read = outcomes(tmp_path, *[{}] * 9, {field: value})
    (warning,) = read.warnings
    assert "o.jsonl:10" in warning
    assert field in warning
    with pytest.raises(OutcomeError, match=r"o\.jsonl:1: field"):
        outcomes(tmp_path, {field: value})


def test_a_problem_without_an_answer_is_named_with_its_line(tmp_path: Path) -> None:
    for answer in ("NaN", "null"):
        file = tmp_path / "p.jsonl"
        file.write_text(json.dumps(PROBLEM).replace('"2"', answer))
        with pytest.raises(ProblemError, match=r"line 1: .*answer is null"):
            read_problems(str(file))


def test_prompts_of_pandas_and_of_windows_are_read() -> None:
    lines = io.TextIOWrapper(io.BytesIO(MARK + b'{"prompt": "a", "id": NaN}\r\n'), "utf-8")
    assert list(read_prompts(lines, "-")) == [("-:1", {"prompt": "a", "id": None}, "a")]


BROKEN = [
    "{",
    "[]",
    "7",
    "{}",
    '{"reasoning_start_str": "<think>", "reasoning_end_str": 5}',
    "\xff",
]


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_reasoning_config_is_a_clear_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "ctranslate2").mkdir()
    (tmp_path / "config.json").write_text('{"max_position_embeddings": 5}')
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": 1}')
    (tmp_path / "reasoning_config.json").write_bytes(text.encode("latin-1"))
    embedded = Settings(checkpoint=tmp_path)
    vllm = Settings(engine="vllm", model=str(tmp_path))
    for settings in (embedded, vllm):
        with pytest.raises(SettingsError, match=r"reasoning_config\.json .*reasoning_end_str"):
            check_engine_command(settings)
    with pytest.raises(CheckpointError, match=r"reasoning_config\.json"):
        Checkpoint(tmp_path, 1)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", json.dumps({"model": {"type": "WordLevel", "vocab": {}, "unk_token": "x"}})],
)
def test_a_tokenizer_that_cannot_be_used_is_named(tmp_path: Path, text: str) -> None:
    for file in DEMO.iterdir():
        if file.name != "tokenizer.json":
            (tmp_path / file.name).symlink_to(file)
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(
        CheckpointError, match=r"tokenizer\.json (cannot be read: |has no usable vocabulary)"
    ):
        Checkpoint(tmp_path, 1)


def test_records_with_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    file.write_bytes(MARK + json.dumps(RECORD).encode() + b"\n")
    assert len(read_records(file)) == 1
