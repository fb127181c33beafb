"""Several workers as real processes: one address, one engine, one ledger, one set of metrics."""

import asyncio
import os
import pickle
import shutil
import signal
import socket
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Generator
from contextlib import closing
from multiprocessing import connection
from pathlib import Path
from typing import Any

import httpx
import pytest
from engines import scripted
from paths import ROOT
from polling import until
from processes import Server, await_replacement, family, forker_of, serving, workers_of
from prometheus_client.parser import text_string_to_metric_families

from server.config.load_settings import load_settings
from server.config.settings import Settings
from server.http.worker_supervisor import WorkerProcess, WorkerSupervisor
from server.workers import _announce

STORY = "Ben has 40 coins. Ben finds 61 coins. How many coins does Ben have now? "
PATIENCE = 60


@pytest.fixture(scope="module")
def engine() -> Generator[str]:
    with scripted() as url:
        yield url


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("router") / "router.json"
    shutil.copy(ROOT / "models" / "demo" / "router.json", copy)
    return copy


@pytest.fixture(scope="module")
def pair(engine: str, router: Path) -> Generator[Server]:
    """Two workers without a ledger, which the tests that use them damage one after the other."""
    flags = ("--upstream", engine, "--model", "fake", "--router", str(router))
    with serving(*flags, "--workers", "2", "--holdout-share", "0.5") as server:
        yield server


@pytest.fixture(scope="module")
def embedded_pair() -> Generator[Server]:
    """Two workers with one embedded engine; the last test that uses them ends them."""
    with serving("--workers", "2") as server:
        yield server


def routed(engine: str) -> tuple[str, ...]:
    router = ROOT / "models" / "demo" / "router.json"
    return ("--upstream", engine, "--model", "fake", "--router", str(router))


async def each(
    url: str, contents: list[str], named: bool = False, **fields: Any
) -> list[httpx.Response]:
    """Ask everything at once, each over a connection of its own, so that all workers get some.

    With `named`, equal contents are one conversation.
    """
    return await each_dialogue(
        url,
        [[{"role": "user", "content": content}] for content in contents],
        [{"x-session-id": str(hash(content))} if named else {} for content in contents],
        **fields,
    )


async def each_dialogue(
    url: str, dialogues: list[list[dict[str, Any]]], headers: list[dict[str, str]], **fields: Any
) -> list[httpx.Response]:
    limits = httpx.Limits(max_keepalive_connections=0)
    async with httpx.AsyncClient(timeout=PATIENCE, limits=limits) as http:

        async def ask(messages: list[dict[str, Any]], named: dict[str, str]) -> httpx.Response:
            body = {"messages": messages, **fields}
            return await http.post(f"{url}/v1/chat/completions", json=body, headers=named)

        return list(await asyncio.gather(*map(ask, dialogues, headers)))


def continued(contents: list[str], answers: list[httpx.Response]) -> list[list[dict[str, Any]]]:
    """The next turns of conversations."""
    return [
        [
            {"role": "user", "content": content},
            answer.json()["choices"][0]["message"],
            {"role": "user", "content": f"{STORY}again think=3 chunks=2"},
        ]
        for content, answer in zip(contents, answers, strict=True)
    ]


def arms_of(answers: list[httpx.Response]) -> list[str]:
    return [answer.headers["x-tops-arm"] for answer in answers]


def sums(url: str) -> Counter[str]:
    """Every metric's samples by name, over their labels."""
    totals: Counter[str] = Counter()
    for metric in text_string_to_metric_families(httpx.get(f"{url}/metrics").text):
        for sample in metric.samples:
            totals[sample.name] += sample.value  # pyright: ignore[reportArgumentType]
    return totals


def rows(ledger: Path) -> list[str]:
    with closing(sqlite3.connect(ledger)) as connection, connection:
        return [row[0] for row in connection.execute("SELECT request_id FROM requests")]


def test_settings_reach_a_worker_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "tops.toml").write_text('workers = 3\n[[keys]]\nname = "a"\nsha256 = "' + "0" * 64)
    with (tmp_path / "tops.toml").open("a") as file:
        file.write('"\n')
    settings = load_settings({"config": str(tmp_path / "tops.toml"), "max_loss": "0.5"})
    there = pickle.loads(pickle.dumps(settings))
    assert there == settings
    assert type(there) is Settings
    assert (there.workers, there.max_loss, there.keys[0].name) == (3, 0.5, "a")


def test_metrics_and_ledger_are_right_whoever_answers(engine: str, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.db"
    flags = ("--workers", "2", "--ledger", f"sqlite:///{ledger}", "--holdout-share", "0.5")
    with serving(*routed(engine), *flags) as server:
        assert len(workers_of(server.process.pid)) == 2
        contents = [f"{STORY}{number} think=3 chunks=2" for number in range(40)]
        answers = asyncio.run(each(server.url, contents + contents, named=True))
        assert [answer.status_code for answer in answers] == [200] * 80
        arms = arms_of(answers)
        assert arms[:40] == arms[40:]
        assert set(arms) == {"treated", "holdout"}
        streams = asyncio.run(each(server.url, contents, stream=True))
        assert all(answer.text.endswith("data: [DONE]\n\n") for answer in streams)
        refused = asyncio.run(each(server.url, ["a", "b", "c"], n="many"))
        assert [answer.status_code for answer in refused] == [400] * 3
        until(lambda: sums(server.url)["tops_ledger_rows_total"] == 120)
        counted = sums(server.url)
        assert counted["tops_requests_total"] == 123
        assert counted["tops_arm_requests_total"] == 120
        assert counted["tops_thinking_tokens_total"] == 120 * 3
        assert counted["tops_answer_tokens_total"] == 120 * 2
        assert counted["tops_request_seconds_count"] == 120
        assert counted["tops_ttft_seconds_count"] == 40
        assert counted["tops_in_flight"] == 0
        assert counted["tops_engine_up"] == 1
        assert counted["tops_ledger_lost_total"] == 0
        ids = [answer.headers["x-request-id"] for answer in answers + streams]
        assert sorted(rows(ledger)) == sorted(ids)
        assert sum(line.startswith("ready: ") for line in server.lines) == 1


def test_whichever_worker_answers_a_conversation_keeps_its_arm_and_effort(pair: Server) -> None:
    """Without a ledger, by the memory that the workers share."""
    contents = [f"Prove that {number} is odd. think=1 chunks=1" for number in range(12)]
    answers = asyncio.run(each(pair.url, contents))
    arms = arms_of(answers)
    assert len(set(arms)) == 2
    turns = 6 * continued(contents, answers)
    for turn in turns:
        turn[-1] = {"role": "tool", "tool_call_id": "c", "content": STORY}
    later = asyncio.run(each_dialogue(pair.url, turns, [{}] * len(turns)))
    assert arms_of(later) == 6 * arms
    assert {answer.headers["x-tops-source"] for answer in later} == {"pinned", "holdout"}


def test_a_killed_worker_is_replaced_and_the_gauges_stay_right(pair: Server) -> None:
    async def scenario(server: Server) -> list[httpx.Response | BaseException]:
        url, before = server.url, workers_of(server.process.pid)
        limits = httpx.Limits(max_keepalive_connections=0)
        async with httpx.AsyncClient(timeout=PATIENCE, limits=limits) as http:
            content = STORY + "think=1 chunks=60 rate=10"
            body = {"messages": [{"role": "user", "content": content}], "stream": True}
            asks = [http.post(f"{url}/v1/chat/completions", json=body) for _ in range(16)]
            open_streams = asyncio.gather(*asks, return_exceptions=True)
            await asyncio.to_thread(until, lambda: sums(url)["tops_in_flight"] == 16)
            os.kill(min(before), signal.SIGKILL)
            await asyncio.to_thread(await_replacement, server.process.pid, before)
            return await open_streams

    asyncio.run(each(pair.url, [STORY + "think=1 chunks=1"] * 20))
    before = sums(pair.url)["tops_requests_total"]
    ended = asyncio.run(scenario(pair))
    whole = [one for one in ended if isinstance(one, httpx.Response)]
    assert all(one.text.endswith("data: [DONE]\n\n") for one in whole)
    until(lambda: sums(pair.url)["tops_in_flight"] == 0)
    assert sums(pair.url)["tops_requests_total"] == before + len(whole)
    answers = asyncio.run(each(pair.url, [STORY + "think=1 chunks=1"] * 40))
    assert [answer.status_code for answer in answers] == [200] * 40
    assert sums(pair.url)["tops_requests_total"] == before + 40 + len(whole)
    assert sum(line.startswith("ready: ") for line in pair.lines) == 1


def test_workers_outlive_the_process_that_forks_them_until_they_are_replaced(pair: Server) -> None:
    async def scenario() -> httpx.Response:
        before = workers_of(pair.process.pid)
        content = STORY + "think=1 chunks=60 rate=10"
        body = {"messages": [{"role": "user", "content": content}], "stream": True}
        async with httpx.AsyncClient(timeout=PATIENCE) as http:
            stream = asyncio.create_task(http.post(f"{pair.url}/v1/chat/completions", json=body))
            await asyncio.to_thread(until, lambda: sums(pair.url)["tops_in_flight"] == 1)
            os.kill(forker_of(pair.process.pid), signal.SIGKILL)
            await asyncio.to_thread(until, lambda: len(workers_of(pair.process.pid) - before) == 2)
            return await stream

    assert asyncio.run(scenario()).text.endswith("data: [DONE]\n\n")
    answers = asyncio.run(each(pair.url, [STORY + "think=1 chunks=1"] * 20))
    assert [answer.status_code for answer in answers] == [200] * 20
    assert sums(pair.url)["tops_in_flight"] == 0


class Reaped:
    """A worker that has ended, which its parent is about to learn: no process has its number."""

    exitcode = None

    def __init__(self) -> None:
        with subprocess.Popen(["true"]) as process:
            self.pid = process.pid
        self._answers = [True, True]

    def is_alive(self) -> bool:
        return bool(self._answers) and self._answers.pop()

    def join(self, timeout: float | None = None) -> None: ...


def test_a_worker_that_has_just_ended_may_be_told_to_end() -> None:
    worker: Any = object.__new__(WorkerProcess)
    worker.process = Reaped()
    worker.parent_conn, worker.child_conn = connection.Pipe()
    workers: Any = object.__new__(WorkerSupervisor)
    workers.processes, workers.sockets = [worker], []
    workers.signal_queue = [signal.SIGINT]
    workers.terminate_all()
    workers.join_all()
    assert not workers.signal_queue


def test_a_replacement_that_cannot_start_ends_the_gateway(pair: Server, router: Path) -> None:
    processes = family(pair.process.pid)
    router.write_text("{}")
    os.kill(min(workers_of(pair.process.pid)), signal.SIGKILL)
    until(lambda: pair.process.poll() is not None)
    assert pair.process.returncode == 1
    until(lambda: any("a worker cannot start" in line for line in pair.lines))
    until(lambda: not any(alive(pid) for pid in processes))


def test_the_engine_of_several_workers_is_restarted_and_counted_once(embedded_pair: Server) -> None:
    processes = family(embedded_pair.process.pid)
    assert sum("server.embedded" in words for words in processes.values()) == 1
    assert embedded_pair.logged('"engine started"')
    assert sum('"engine started"' in line for line in embedded_pair.lines) == 1
    pid = next(pid for pid, words in processes.items() if "server.embedded" in words)
    os.kill(pid, signal.SIGKILL)
    until(lambda: sums(embedded_pair.url)["tops_engine_restarts_total"] == 1)
    until(
        lambda: {a.status_code for a in asyncio.run(each(embedded_pair.url, [STORY] * 8))} == {200}
    )


def test_sigterm_drains_all_workers_and_ends_every_process(embedded_pair: Server) -> None:
    async def scenario(server: Server) -> list[httpx.Response]:
        content = STORY + "Then Ben wins 77 coins. Ben loses 17 coins. How many coins now?"
        asks = asyncio.create_task(
            each(server.url, [content] * 8, stream=True, n=8, reasoning_effort="high")
        )
        await asyncio.to_thread(until, lambda: accepted(server.url) == before + 8)
        server.process.send_signal(signal.SIGTERM)
        return await asks

    server = embedded_pair
    processes, before = family(server.process.pid), accepted(server.url)
    answers = asyncio.run(scenario(server))
    assert all(answer.text.endswith("data: [DONE]\n\n") for answer in answers)
    assert server.process.wait(PATIENCE) == 0
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in processes))


def accepted(url: str) -> float:
    """How many requests have come, whether they have ended or not."""
    counted = sums(url)
    return counted["tops_in_flight"] + counted["tops_requests_total"]


def test_nothing_outlives_a_killed_parent() -> None:
    with serving("--workers", "2") as server:
        processes = family(server.process.pid)
        assert len(processes) >= 3
        server.process.kill()
        server.process.wait()
        until(lambda: not any(alive(pid) for pid in processes))


def alive(pid: int) -> bool:
    try:
        return "zombie" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_several_gateways_share_nothing_but_the_database(engine: str, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.db"
    flags = (*routed(engine), "--ledger", f"sqlite:///{ledger}", "--holdout-share", "0.5")
    contents = [f"{STORY}{number} think=3 chunks=2" for number in range(30)]
    with serving(*flags) as one, serving(*flags, "--workers", "2") as other:
        here = asyncio.run(each(one.url, contents))
        arms = arms_of(here)
        assert len(set(arms)) == 2
        until(lambda: len(rows(ledger)) == 30)
        turns = continued(contents, here)
        there = asyncio.run(each_dialogue(other.url, turns, [{}] * 30))
        assert arms == arms_of(there)
        assert sums(one.url)["tops_requests_total"] == 30
        assert sums(other.url)["tops_requests_total"] == 30
        until(lambda: len(rows(ledger)) == 60)
        scored = here[0].headers["x-request-id"]
        note = {"request_id": scored, "correct": True}
        assert httpx.post(f"{other.url}/v1/feedback", json=note, timeout=60).status_code == 200
    ids = [answer.headers["x-request-id"] for answer in here + there]
    assert sorted(rows(ledger)) == sorted(ids)


def test_the_announced_url_takes_connections_before_a_server_listens(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        _announce(listener, 8)
        host, port = listener.getsockname()
        with socket.create_connection((host, port), 60):
            assert capsys.readouterr().out.startswith(f"ready: http://{host}:{port}/v1\n")
