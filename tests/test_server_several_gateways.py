"""Two gateways of two workers on one PostgreSQL and one Valkey, killed and restarted under load."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Generator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psycopg
import pytest
from engines import scripted
from paths import ROOT
from polling import until
from processes import Server, await_replacement, serving, workers_of
from test_server_ledger import postgres  # noqa: F401 - a fixture
from valkey_server import valkey

from server.api_keys import digest
from server.engines.supervisor import free_port

PATIENCE = 60
CHAT = "/v1/chat/completions"
SESSIONS = [f"session-{number}" for number in range(24)]
LIMIT = 40
"""Requests per day of the key `limited`."""


@dataclass
class Fleet:
    """The gateways by their URLs, a way to start each again, and all that clients saw.

    `attempts` has the status of each request that got one, by its id; 0 if its answer was cut off.
    `broken` are those that got none. `arms` are those of the answers, by session.
    """

    flags: tuple[str, ...]
    database: str
    stack: ExitStack
    servers: dict[str, Server] = field(default_factory=dict[str, Server])
    attempts: dict[str, int] = field(default_factory=dict[str, int])
    broken: set[str] = field(default_factory=set[str])
    arms: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    answered: int = 0

    def start(self, port: int) -> str:
        flags = (*self.flags, "--port", str(port))
        server = self.stack.enter_context(serving(*flags, "--workers", "2"))
        self.servers[server.url] = server
        return server.url

    def rows(self) -> list[tuple[str, int, str, str]]:
        """Id, status, conversation and arm of each row."""
        url = self.database.replace("+psycopg", "")
        query = "SELECT request_id, status, conversation, arm FROM requests"
        with psycopg.connect(url) as connection:
            return connection.execute(query).fetchall()

    def all_are_written(self) -> bool:
        written = {row[0] for row in self.rows()}
        return all(name in written for name, status in self.attempts.items() if status == 200)

    async def answer(self, http: httpx.AsyncClient, session: str, turn: int, script: str) -> None:
        """Ask until there is an answer, at the other gateway each time, as a balancer would."""
        urls = [*self.servers]
        for attempt in range(60):
            name = f"{session}.{turn}.{attempt}"
            url = urls[(hash(session) + turn + attempt) % 2]
            if await self._ask(http, url, name, session, script, stream=bool(turn % 2)):
                self.answered += 1
                return
            await asyncio.sleep(0.1)  # as clients wait before they retry
        pytest.fail(f"no answer to {session}, turn {turn}")

    async def _ask(
        self, http: httpx.AsyncClient, url: str, name: str, session: str, script: str, stream: bool
    ) -> bool:
        body = {"messages": [{"role": "user", "content": script}], "stream": stream}
        headers = {
            "authorization": "Bearer free", "x-request-id": name, "x-session-id": session
        }  # fmt: skip
        try:
            async with http.stream("POST", url + CHAT, json=body, headers=headers) as answer:
                self.attempts[name] = 0
                text = (await answer.aread()).decode()
        except httpx.TransportError:
            if name not in self.attempts:
                self.broken.add(name)
            return False
        self.attempts[name] = answer.status_code
        if answer.status_code != 200:
            assert "error" in answer.json(), text
            return False
        if stream and not text.endswith("data: [DONE]\n\n"):
            assert '"error"' in text, text
            self.attempts[name] = 0
            return False
        self.arms.setdefault(session, set()).add(answer.headers["x-tops-arm"])
        return True


@pytest.fixture
def fleet(postgres: str, tmp_path: Path) -> Generator[Fleet]:  # noqa: F811
    tables = [
        f'[[keys]]\nname = "{key}"\nsha256 = "{digest(key)}"\n{limits}'
        for key, limits in (("free", ""), ("limited", f"requests_per_day = {LIMIT}"))
    ]
    (tmp_path / "tops.toml").write_text("\n".join(tables))
    router = str(ROOT / "models" / "demo" / "router.json")
    with ExitStack() as stack:
        engine = stack.enter_context(scripted())
        store = stack.enter_context(valkey(tmp_path))
        flags = ("--upstream", engine, "--model", "fake", "--router", router)
        flags += ("--config", str(tmp_path / "tops.toml"), "--ledger", postgres)
        flags += ("--limits-store", f"redis://127.0.0.1:{store}", "--holdout-share", "0.5")
        yield Fleet(flags, postgres, stack)


async def use_up_limit(fleet: Fleet, http: httpx.AsyncClient, count: int) -> list[int]:
    """The statuses of so many requests of the key with a limit, half of them at each gateway."""
    headers = {"authorization": "Bearer limited"}
    body = {"messages": [{"role": "user", "content": "think=1 chunks=1"}]}
    urls = [url for url in fleet.servers for _ in range(count // 2)]
    asks = [http.post(url + CHAT, json=body, headers=headers) for url in urls]
    return [answer.status_code for answer in await asyncio.gather(*asks)]


async def talk(fleet: Fleet, http: httpx.AsyncClient, first: int, last: int) -> None:
    """Turns of all sessions, one after the other in each."""

    async def session(name: str) -> None:
        for turn in range(first, last):
            await fleet.answer(http, name, turn, "How many coins? think=3 chunks=2")

    await asyncio.gather(*map(session, SESSIONS))


def connections(process: int, port: int) -> int:
    """How many connections of clients to a port a process holds."""
    links: list[str] = []
    for file in Path(f"/proc/{process}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            links.append(str(file.readlink()))
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    established = [row for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "01"]
    return sum(f"socket:[{row[9]}]" in links for row in established)


async def kill_a_worker(fleet: Fleet, http: httpx.AsyncClient, url: str) -> None:
    """Kill one with streams open, whose clients retry; its rows of before are written by then."""
    await asyncio.to_thread(until, fleet.all_are_written)
    gateway = fleet.servers[url].process.pid
    before = workers_of(gateway)
    streams = [
        asyncio.create_task(fleet.answer(http, name, 101, "think=100 chunks=100 rate=20"))
        for name in SESSIONS
    ]
    await asyncio.to_thread(until, lambda: list(fleet.attempts.values()).count(0) == len(SESSIONS))
    port = int(url.rpartition(":")[2])
    busiest = max(before, key=lambda process: connections(process, port))  # the other may have none
    os.kill(busiest, signal.SIGKILL)
    await asyncio.gather(*streams)
    await asyncio.to_thread(await_replacement, gateway, before)


async def scenario(fleet: Fleet) -> list[int]:
    first, second = (fleet.start(free_port()) for _ in range(2))
    limits = httpx.Limits(max_keepalive_connections=0, max_connections=None)
    async with httpx.AsyncClient(timeout=PATIENCE, limits=limits) as http:
        limited = await use_up_limit(fleet, http, 30)
        await talk(fleet, http, 0, 2)
        await kill_a_worker(fleet, http, first)
        assert list(fleet.attempts.values()).count(0) > 0

        load = asyncio.create_task(talk(fleet, http, 2, 8))
        answered = fleet.answered
        await asyncio.to_thread(until, lambda: fleet.answered > answered + len(SESSIONS))
        fleet.servers[second].process.kill()
        await asyncio.to_thread(fleet.servers[second].process.wait, PATIENCE)
        await load
        await asyncio.to_thread(fleet.start, int(second.rpartition(":")[2]))

        limited += await use_up_limit(fleet, http, 30)
        load = asyncio.create_task(talk(fleet, http, 8, 12))
        answered = fleet.answered
        await asyncio.to_thread(until, lambda: fleet.answered > answered + len(SESSIONS))
        fleet.servers[first].process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(fleet.servers[first].process.wait, PATIENCE) == 0
        await load
    return limited


def test_no_request_is_lost_limits_hold_and_conversations_keep_their_arm(fleet: Fleet) -> None:
    limited = asyncio.run(scenario(fleet))
    assert Counter(limited) == {200: LIMIT, 429: len(limited) - LIMIT}
    assert fleet.answered == 13 * len(SESSIONS)
    assert {len(arms) for arms in fleet.arms.values()} == {1}
    assert set.union(*fleet.arms.values()) == {"treated", "holdout"}

    until(fleet.all_are_written)
    rows = [row for row in fleet.rows() if "session-" in row[0]]
    written = Counter(name for name, *_ in rows)
    assert set(written.values()) == {1}
    assert written.keys() <= fleet.attempts.keys() | fleet.broken
    statuses = {name: status for name, status, *_ in rows}
    for name, status in fleet.attempts.items():
        if status:
            assert statuses[name] == status, name
        else:  # cut off by the kill, which nobody could write, or with an error event
            assert statuses.get(name, 503) >= 499, name
    conversations = {(name.partition(".")[0], row[1], row[2]) for name, *row in rows}
    assert (
        len({(session, conversation) for session, conversation, _ in conversations})
        == len({conversation for _, conversation, _ in conversations})
        == len(conversations)
        == len(SESSIONS)
    )
