"""Problems from files and from public sets; those come from a real server on loopback here."""

import gzip
import json
import threading
from collections.abc import Generator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from paths import DATA

from models.outcomes import problem_sets, verify
from models.outcomes.problem_sets import PUBLIC, ProblemError, PublicSet, read_problems

PROBLEMS = DATA / "problems"
GSM8K = {"question": "2 + 3?", "answer": "2 + 3 = <<2+3=5>>5\n#### 1,005"}
MATH = {"problem": "Half of one?", "answer": "\\frac{1}{2}", "unique_id": "test/a/1.json"}


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[dict[str, PublicSet]]:
    """The public sets, as if their publishers were on loopback, and an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "gsm8k").write_text(json.dumps(GSM8K) + "\n")
    (folder / "math").write_text(json.dumps(MATH) + "\n")
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}"
        yield {name: PublicSet(f"{base}/{name}", public.problem) for name, public in PUBLIC.items()}
        server.shutdown()


def test_public_sets_are_fetched_once(served: dict[str, PublicSet], tmp_path: Path) -> None:
    (problem,) = read_problems("gsm8k", served)
    assert (problem.problem_id, problem.answer) == ("gsm8k-1", "1,005")
    assert problem.prompt.startswith("2 + 3?\n\n")
    (problem,) = read_problems("math", served)
    assert (problem.problem_id, problem.answer) == ("test/a/1.json", "\\frac{1}{2}")
    assert "\\boxed{}" in problem.prompt
    gone = {
        name: PublicSet("http://127.0.0.1:1/x", public.problem) for name, public in served.items()
    }
    assert read_problems("math", gone) == [problem]
    assert sorted(path.name for path in (tmp_path / "cache" / "tops").iterdir()) == [
        "gsm8k.jsonl",
        "math.jsonl",
    ]


def test_without_a_network_the_error_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    absent = {"gsm8k": PublicSet("http://127.0.0.1:1/x", PUBLIC["gsm8k"].problem)}
    with pytest.raises(ProblemError, match=r"save http://127.0.0.1:1/x as .*gsm8k.jsonl"):
        read_problems("gsm8k", absent)
    assert list(tmp_path.rglob("*.jsonl")) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{"problem_id": 1, "prompt": "x", "answer": 2}\n\n{"problem_id": 1}',
            "line 3: field prompt is missing",
        ),
        ('{"problem_id": 1, "prompt": "x", "answer": 2}\n' * 2, "line 2: 1 is there already"),
        ("[1]", "line 1: not an object"),
        ("{", "line 1: not JSON"),
        ('{"problem_id": 1, "prompt": "\\ud83d", "answer": 2}', "line 1: half of a surrogate"),
        ('{"problem_id": 1, "prompt": "x", "answer": " "}', "the answer is empty"),
        ("", "has no problems"),
    ],
)
def test_bad_files_are_named_by_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "problems.jsonl"
    file.write_text(text)
    with pytest.raises(ProblemError, match=message):
        read_problems(str(file))


def test_unreadable_files_are_reported(tmp_path: Path) -> None:
    with pytest.raises(ProblemError, match="public sets are gsm8k, math"):
        read_problems(str(tmp_path / "absent.jsonl"))
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(gzip.compress(b'{"problem_id": 1}' * 99)[:-12])
    with pytest.raises(ProblemError, match="cannot be read"):
        read_problems(str(cut))


def test_mathematics_without_math_verify_names_the_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "_has_math_verify", lambda: False)
    file = tmp_path / "problems.jsonl"
    file.write_text('{"problem_id": 1, "prompt": "x", "answer": "\\\\sqrt{2}"}\n')
    with pytest.raises(ProblemError, match=r"pip install 'tops-server\[math\]'"):
        read_problems(str(file))
    file.write_text('{"problem_id": 1, "prompt": "x", "answer": "B"}\n')
    assert problem_sets.read_problems(str(file))[0].answer == "B"


@pytest.mark.slow
@pytest.mark.skipif(not PROBLEMS.is_dir(), reason="the shared problem sets are not on this machine")
@pytest.mark.parametrize(
    ("name", "size"), [("gsm8k_test", 1319), ("math_4500", 4500), ("svamp", None), ("aqua", None)]
)
def test_real_files_are_read_and_their_own_answers_are_right(name: str, size: int | None) -> None:
    problems = read_problems(str(PROBLEMS / f"{name}.jsonl.gz"))
    assert size is None or len(problems) == size
    plain = [problem for problem in problems if verify.is_plain(problem.answer)]
    assert len(plain) > 0.5 * len(problems)
    for problem in plain:
        assert verify.is_correct(f"So the answer is {problem.answer}.", problem.answer)
