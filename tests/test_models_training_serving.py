"""Engines that a run starts: several replicas, each with GPUs of its own, and a seed's teacher."""

import json
import sys
from collections import Counter
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import cast

import httpx
import pytest
from paths import ROOT

from child_python import python_command
from models.domain.problems import unique_stories
from models.outcomes.client import GenerateError, RequestSettings
from models.outcomes.generate import generate, plan_tasks
from models.outcomes.problem_sets import Problem
from models.outcomes.verify import Judge
from models.training.generation import generate_missing
from models.training.recipe_engine import Engine, Sampling, Teacher
from models.training.recipe_file import RecipeError, read_recipe
from models.training.run import RunError
from models.training.serving import replica_devices, served_names, started, teaching

RECIPES = ROOT / "models" / "recipes"


STUB = """
import json, os, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

words = dict(zip(sys.argv[1::2], sys.argv[2::2]))
answered = open(os.environ["STUB_LOG"], "a")


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def do_POST(self):
        if "STUB_DIES" in os.environ:
            print("CUDA out of memory", file=sys.stderr, flush=True)
            os._exit(9)
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        note = {"gpus": os.environ.get("CUDA_VISIBLE_DEVICES"), "request": request, "flags": words}
        print(json.dumps(note), file=answered, flush=True)
        message = {"content": "The answer is 4.", "reasoning": "2+2=4"}
        usage = {"completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 5}}
        choices = [{"message": message, "finish_reason": "stop"}]
        body = {"choices": choices, "usage": usage}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_):
        pass


HTTPServer((words["--host"], int(words["--port"])), Handler).serve_forever()
"""
"""In place of vLLM's server: writes down each request, and the GPUs that it sees."""


@pytest.fixture
def requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of what the stub was asked, once it is started as vLLM."""
    package = tmp_path / "path" / "vllm" / "entrypoints" / "openai"
    package.mkdir(parents=True)
    (package / "api_server.py").write_text(STUB)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "path"))
    monkeypatch.setenv("STUB_LOG", str(tmp_path / "requests.jsonl"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return tmp_path / "requests.jsonl"


@pytest.mark.parametrize(
    ("visible", "expected"),
    [(None, ["0,1", "2,3", "4,5"]), ("3,5,4,6,0,1,2", ["3,5", "4,6", "0,1"])],
)
def test_each_replica_has_gpus_of_its_own(visible: str | None, expected: list[str]) -> None:
    engine = Engine(kind="vllm", replicas=3, gpus_each=2)
    found = replica_devices(engine, visible)
    assert [variables["CUDA_VISIBLE_DEVICES"] for variables in found] == expected


def test_replicas_without_enough_gpus_are_refused() -> None:
    engine = Engine(kind="vllm", replicas=3, gpus_each=2)
    with pytest.raises(RunError, match=r"3 replicas of 2 GPUs .* need 6, .* has 4"):
        replica_devices(engine, "0,1,2,3")


def test_one_engine_sees_the_gpus_that_we_see() -> None:
    assert replica_devices(Engine(kind="vllm"), "4") == [{}]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("engine={kind='urls',urls=['http://127.0.0.1:1/v1'],replicas=2}", "name each URL"),
        ("engine={kind='vllm',replicas=9,concurrency=8}", "without a request"),
        ("engine={kind='vllm',replicas=2,flags=['-tp','4']}", "take 4 GPUs, and gpus_each gives"),
        ("seed={source='teacher',teacher={model='a/b'}}", "needs its url"),
    ],
)
def test_engines_that_cannot_be_are_refused(override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        read_recipe(RECIPES / "smoke.toml", [override])


def test_all_ways_to_sample_are_sent() -> None:
    assert Sampling().fields == {"top_p": 1, "top_k": -1, "min_p": 0, "repetition_penalty": 1}
    assert Sampling(presence_penalty=1.5).fields["presence_penalty"] == 1.5
    assert Teacher(model="m").fields == {}
    assert Teacher(model="m", top_k=20, min_p=0.1).fields == {"top_k": 20, "min_p": 0.1}


def test_the_large_recipes_start_their_teachers() -> None:
    for name in ("qwen3-8b", "qwen3-8b-full", "qwen2.5-32b"):
        teacher = read_recipe(RECIPES / f"{name}.toml").seed.teacher
        assert teacher is not None
        assert teacher.url is None
        assert "--reasoning-parser" in teacher.flags


def test_replicas_share_the_requests_and_end_with_the_stage(requests: Path, tmp_path: Path) -> None:
    engine = Engine(kind="vllm", python=sys.executable, replicas=2, gpus_each=2, concurrency=4)
    teacher = Teacher(model="a/b", flags=["--reasoning-parser", "qwen3"], top_k=20)
    problems = [Problem(str(number), f"2+2? ({number})", "4") for number in range(8)]
    with teaching(engine, teacher, tmp_path / "serving") as urls:
        assert len(set(urls)) == 2
        endpoints = [
            RequestSettings(url, "a/b", 1.0, None, True, sampling=teacher.fields, seed=0)
            for url in urls
        ]
        generate_missing(problems, ["low"], 1, endpoints, tmp_path / "out", 4, Counter())
    notes = [json.loads(line) for line in requests.read_text().splitlines()]
    assert {note["gpus"] for note in notes} == {"0,1", "2,3"}
    assert {note["flags"]["--reasoning-parser"] for note in notes} == {"qwen3"}
    assert {note["flags"]["--model"] for note in notes} == {"a/b"}
    assert {note["request"]["top_k"] for note in notes} == {20}
    assert len({note["request"]["seed"] for note in notes}) == len(problems)
    for url in urls:
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{url}/models")


@pytest.mark.usefixtures("requests")
def test_an_engine_that_dies_ends_the_stage_with_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.outcomes.client._BACKOFF", lambda _: 0.0)
    monkeypatch.setenv("STUB_DIES", "1")
    engine, teacher = Engine(kind="vllm", python=sys.executable), Teacher(model="a/b")
    with (
        pytest.raises(RunError, match=r"(?s)did not answer .*status 9:.*CUDA out of memory"),
        teaching(engine, teacher, tmp_path / "serving") as urls,
    ):
        endpoints = [RequestSettings(url, "a/b", 1.0, None, True) for url in urls]
        problems = [Problem("p", "2+2?", "4")]
        generate_missing(problems, ["low"], 1, endpoints, tmp_path / "out", 4, Counter())


class Stopper:
    """In place of a judge: stops an engine once it has seen three answers."""

    def __init__(self, engine: ExitStack) -> None:
        self._engine, self._answers = engine, 0

    async def is_correct(self, *_: object) -> bool:
        self._answers += 1
        if self._answers == 3:
            self._engine.close()
        return True


def test_an_engine_that_is_down_is_said_and_the_others_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.outcomes.client._BACKOFF", lambda _: 0.0)
    model, engine = tmp_path / "tag" / "model", Engine(kind="embedded")
    model.parent.mkdir()
    model.symlink_to(ROOT / "models" / "demo")
    command = python_command("server.embedded", "--model", str(model))
    stories = islice(unique_stories(1, "test", 1, 4), 20)
    problems = [Problem(str(number), story.prompt, "1") for number, story in enumerate(stories)]
    tasks, out = plan_tasks(problems, ["low"], 1), tmp_path / "out.jsonl"
    gone = "http://127.0.0.1:1/v1"
    with ExitStack() as first, ExitStack() as second:
        dying, living = (
            stack.enter_context(started(engine, command, "trained-tag", tmp_path))[0]
            for stack in (first, second)
        )
        names = served_names([gone, dying, living], model)
        assert names == dict.fromkeys([dying, living], "trained-tag")
        endpoints = [RequestSettings(url, name, 0.6, None, True) for url, name in names.items()]
        assert generate(tasks, endpoints, out, 4, cast("Judge", Stopper(first))) == []
        rows = [json.loads(line) for line in out.read_text().splitlines()]
        assert {row["problem_id"] for row in rows} == {task.problem.problem_id for task in tasks}
        assert len(rows) == len(tasks)
        said = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
        assert [gone in said[0], dying in said[1], len(said)] == [True, True, 2]
        second.close()
        with pytest.raises(GenerateError, match=f"{living} did not answer"):
            generate(tasks, endpoints, out, 4)
    with pytest.raises(RunError, match=f"{gone} does not list its models"):
        served_names([gone, dying], model)


def test_a_replica_that_cannot_start_ends_the_stage_with_its_log(tmp_path: Path) -> None:
    engine = Engine(kind="embedded", replicas=2)
    command = python_command("server.embedded", "--model", str(tmp_path / "nowhere"))
    with (
        pytest.raises(RunError, match="the engine ended with status"),
        started(engine, command, "trained", tmp_path),
    ):
        pass


def test_a_teacher_with_a_url_is_not_started(tmp_path: Path) -> None:
    teacher = Teacher(model="a/b", url="http://127.0.0.1:9/v1/")
    with teaching(Engine(), teacher, tmp_path) as urls:
        assert urls == ["http://127.0.0.1:9/v1"]
