"""Limits of keys over time: the arithmetic, its copy in Valkey, admission and settlement."""

import asyncio
import random
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from valkey_server import valkey

from server.api.thought_meter import ThoughtMeter
from server.api_keys import Caller
from server.config.api_key_settings import Limit
from server.config.settings import Settings
from server.errors import LimitsUnavailable, RateLimited
from server.limits.key_limits import KeyLimits, Need
from server.limits.key_table import KeyTable
from server.limits.limit_headers import duration
from server.limits.opening import create_key_table
from server.limits.store import Demand, StoreAnswer
from server.limits.valkey import ValkeyStore
from server.limits.window import Window, charged, fits, moved, reset_seconds, used, wait_seconds
from server.observe.metrics import Metrics

PER_MINUTE = Limit("thinking_tokens_per_minute", "tokens", 1000, 60)
PER_DAY = Limit("thinking_tokens_per_day", "tokens", 5000, 86_400)
REQUESTS = Limit("requests_per_minute", "requests", 3, 60)
LIMITS = (REQUESTS, PER_MINUTE, PER_DAY)
unit = pytest.mark.unit


def thinking(tokens: int) -> Need:
    return Need("high", 1, tokens, None)


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@unit
@given(
    st.integers(0, 5000),
    st.integers(0, 1000),
    st.floats(0, 59.9),
    st.integers(0, 1000),
)
def test_an_amount_fits_after_its_wait_and_not_before(
    current: float, previous: float, elapsed: float, amount: int
) -> None:
    start = 1_800_000_000 + elapsed
    window = Window(30_000_000, current, previous)
    wait = wait_seconds(window, PER_MINUTE, start, amount)
    later = moved(window, PER_MINUTE, start + wait + 0.01)
    assert fits(later, PER_MINUTE, start + wait + 0.01, amount)
    if wait > 0.05:
        just_before = start + wait - 0.05
        assert (
            used(moved(window, PER_MINUTE, just_before), PER_MINUTE, just_before)
            >= 1000 - max(amount, 1) - 1e-6
        )
    after = start + reset_seconds(window, PER_MINUTE, start) + 0.01
    assert used(moved(window, PER_MINUTE, after), PER_MINUTE, after) == 0


@unit
def test_what_exceeds_a_limit_is_paid_off() -> None:
    """A request that thinks five times the limit blocks the key for about five minutes."""
    window = charged(Window(30_000_000), 5000)
    wait = wait_seconds(window, PER_MINUTE, 1_800_000_000, 1000)
    assert wait == pytest.approx(360)
    assert used(moved(window, PER_MINUTE, 1_800_000_180), PER_MINUTE, 1_800_000_180) == 3000


@unit
def test_a_reservation_is_given_back_to_the_minute_that_it_is_from() -> None:
    clock = Clock()
    table = KeyTable({"k": LIMITS}, clock=clock)
    taken = asyncio.run(table.take("k", [Demand(PER_MINUTE, 900)]))
    clock.now += 60
    back = Demand(PER_MINUTE, -800, True, taken.windows[0].span)
    table.settle("k", [back])
    after = asyncio.run(table.take("k", [Demand(PER_MINUTE, 0)])).windows[0]
    assert (after.current, after.previous) == (0, 100)
    clock.now += 120
    table.settle("k", [back])
    assert asyncio.run(table.take("k", [Demand(PER_MINUTE, 0)])).windows[0][1:] == (0, 0)


@unit
def test_a_refused_request_is_charged_to_no_limit() -> None:
    table = KeyTable({"k": LIMITS}, clock=Clock())
    demands = [Demand(REQUESTS, 1), Demand(PER_MINUTE, 1001), Demand(PER_DAY, 1001)]
    taken = asyncio.run(table.take("k", demands))
    assert taken.refused == PER_MINUTE
    assert all(window[1:] == (0, 0) for window in taken.windows)


@unit
def test_no_minute_takes_more_than_the_limit_however_requests_arrive() -> None:
    """Use within a span counts as if it had been even, hence the tenth."""
    clock, draws, admitted = Clock(), random.Random(7), []
    table = KeyTable({"k": LIMITS}, clock=clock)
    for _ in range(4000):
        clock.now += draws.expovariate(4)
        amount = draws.randrange(1, 200)
        if asyncio.run(table.take("k", [Demand(PER_MINUTE, amount)])).refused is None:
            admitted.append((clock.now, amount))
    for end, _ in admitted:
        assert sum(amount for at, amount in admitted if end - 60 < at <= end) <= 1100
    minutes = (admitted[-1][0] - admitted[0][0]) / 60
    assert sum(amount for _, amount in admitted) >= 0.85 * 1000 * minutes


@unit
def test_workers_share_one_table(tmp_path: Path) -> None:
    keys = [{"name": "k", "sha256": 64 * "a", "requests_per_minute": 3}]
    file = create_key_table(Settings(keys=keys), tmp_path)  # type: ignore[arg-type]
    first, second = (KeyTable({"k": [REQUESTS]}, file, Clock()) for _ in range(2))
    results = [asyncio.run(table.take("k", [Demand(REQUESTS, 1)])) for table in (first, second) * 2]
    assert [taken.refused for taken in results] == [None, None, None, REQUESTS]
    for table in (first, second):
        asyncio.run(table.close())


@unit
def test_headers_are_those_of_the_limit_with_the_least_left() -> None:
    limits = KeyLimits(KeyTable({"k": LIMITS}, clock=Clock()), Metrics())
    caller = Caller("k", limits=LIMITS)
    charge = asyncio.run(limits.admit(caller, thinking(400)))
    assert dict(charge.headers()) == {
        b"x-ratelimit-limit-requests": b"3",
        b"x-ratelimit-remaining-requests": b"2",
        b"x-ratelimit-reset-requests": b"2m0s",
        b"x-ratelimit-limit-tokens": b"1000",
        b"x-ratelimit-remaining-tokens": b"600",
        b"x-ratelimit-reset-tokens": b"2m0s",
    }
    assert dict(charge.headers(is_anthropic=True))[b"anthropic-ratelimit-requests-reset"] == (
        b"2027-01-15T08:02:00Z"
    )
    charge.settle(150, is_answered=True)
    headers = dict(asyncio.run(limits.admit(caller, thinking(0))).headers())
    assert headers[b"x-ratelimit-remaining-tokens"] == b"850"


@unit
def test_a_long_wait_is_not_worth_a_retry() -> None:
    clock = Clock()
    limits = KeyLimits(KeyTable({"k": LIMITS}, clock=clock), Metrics())
    caller = Caller("k", limits=(PER_DAY,))
    asyncio.run(limits.admit(caller, thinking(5000)))
    with pytest.raises(RateLimited) as refused:
        asyncio.run(limits.admit(caller, thinking(1)))
    headers = refused.value.headers()
    assert headers["x-should-retry"] == "false"
    assert int(headers["retry-after"]) > 60
    assert "5,000 thinking tokens per day" in refused.value.message
    minute = Caller("k", limits=(REQUESTS,))
    for _ in range(3):
        asyncio.run(limits.admit(minute, None))
    clock.now += 30  # 10 s of the next minute free a third
    with pytest.raises(RateLimited) as refused:
        asyncio.run(limits.admit(minute, None))
    assert refused.value.headers()["retry-after"] == "50"
    assert "x-should-retry" not in refused.value.headers()


@unit
def test_lowered_requests_are_charged_what_is_not_left() -> None:
    limits = KeyLimits(KeyTable({"k": LIMITS}, clock=Clock()), Metrics())
    caller = Caller("k", limits=LIMITS)
    asyncio.run(limits.admit(caller, thinking(1000)))
    charge = asyncio.run(limits.admit(caller, thinking(300), lowered=True))
    charge.settle(200, is_answered=True)
    asyncio.run(limits.admit(caller, thinking(0), lowered=True))
    with pytest.raises(RateLimited, match="3 requests per minute"):
        asyncio.run(limits.admit(caller, thinking(0), lowered=True))


@unit
def test_what_answers_took_is_reserved_for_later_ones() -> None:
    """A tenth of the limit at first; never more than the request's own bound."""
    limits = KeyLimits(KeyTable({"k": LIMITS}, clock=Clock()), Metrics())
    caller = Caller("k", limits=(PER_DAY,))

    def reserved(choices: int = 1, bound: int | None = None, effort: str = "high") -> int | None:
        charge = asyncio.run(limits.admit(caller, Need(effort, choices, None, bound)))
        charge.settle(0, is_answered=False)
        return charge.reserved

    assert reserved() == 500
    asyncio.run(limits.admit(caller, Need("high", 2, None, None))).settle(160, is_answered=True)
    assert reserved() == 80
    assert reserved(choices=3) == 240
    assert reserved(choices=3, bound=30) == 90
    assert reserved(effort="low") == 500
    assert asyncio.run(limits.admit(caller, None)).reserved is None


@unit
@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0ms"), (0.25, "250ms"), (1, "1s"), (360, "6m0s"), (86_399, "23h59m59s")],
)
def test_durations_are_written_as_openai_does(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@unit
def test_thoughts_of_a_broken_off_stream_are_counted() -> None:
    chat = b'data: {"choices":[{"delta":{"reasoning":"th\\""}}]}\n\n'
    answer = b'data: {"choices":[{"delta":{"content":"5","reasoning":null}}]}\n\n'
    responses = b'data: {"type":"response.reasoning_text.delta","item_id":"i","delta":"hm"}\n\n'
    messages = b'data: {"delta":{"type":"thinking_delta","thinking":"hm"}}\n\n'
    for thought in (chat, responses, messages):
        meter = ThoughtMeter()
        stream = 3 * thought + answer
        for at in range(0, len(stream), 7):
            meter.feed(stream[at : at + 7])
        assert meter.tokens == 3, thought
    meter = ThoughtMeter()
    meter.feed(chat.replace(b'th\\"', 500 * b"x"))  # several tokens an event
    assert meter.tokens == 100


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Generator[int]:
    with valkey(tmp_path_factory.mktemp("valkey")) as port:
        yield port


def test_valkey_counts_as_the_table_does(port: int) -> None:
    """The same demands at the same times, over hours, with debts and with what is given back."""

    async def compare() -> None:
        draws, clock = random.Random(3), Clock()
        table = KeyTable({"k": LIMITS}, clock=clock)
        store = ValkeyStore(f"valkey://127.0.0.1:{port}", None, Metrics(), "compared:")
        store._now = clock
        earlier: list[StoreAnswer] = []
        for _ in range(600):
            clock.now += draws.choice((0.1, 3, 20, 200))
            amount = draws.choice((0, 10, 400, 1500))
            demands = [Demand(REQUESTS, 1), Demand(PER_MINUTE, amount), Demand(PER_DAY, amount)]
            if earlier and draws.random() < 0.3:
                span = draws.choice(earlier[-3:]).windows[1].span
                demands = [Demand(PER_MINUTE, draws.randrange(-400, 3000), True, span)]
            ours, theirs = await table.take("k", demands), await store.take("k", demands)
            assert ours.refused == theirs.refused
            assert ours.now == pytest.approx(theirs.now)
            for window, other in zip(ours.windows, theirs.windows, strict=True):
                assert window == pytest.approx(other)
            if len(ours.windows) == 3:
                earlier.append(ours)
        await store.close()

    asyncio.run(compare())


def test_gateways_that_share_a_valkey_share_the_limits(port: int) -> None:
    async def run() -> None:
        url = f"redis://127.0.0.1:{port}/1"
        stores = [ValkeyStore(url, None, Metrics()) for _ in range(3)]
        takes = [store.take("k", [Demand(PER_MINUTE, 90)]) for store in stores for _ in range(20)]
        taken = await asyncio.gather(*takes)
        assert sum(each.refused is None for each in taken) == 11  # 990 of 1,000
        stores[0].settle("k", [Demand(PER_MINUTE, -500, True, taken[0].windows[0].span)])
        await stores[0].close()
        assert (await stores[1].take("k", [Demand(PER_MINUTE, 500)])).refused is None
        for store in stores[1:]:
            await store.close()

    asyncio.run(run())


def test_a_burst_waits_for_a_valkey_that_is_slow_and_not_for_one_that_is_silent(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.limits.valkey._CONNECTIONS", 1)
    metrics = Metrics()

    async def relay(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float
    ) -> None:
        with closing(writer):
            while received := await reader.read(65536):
                await asyncio.sleep(delay)
                writer.write(received)

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(relay(reader, theirs[1], 0.15), relay(theirs[0], writer, 0))

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            await reader.read()

    async def burst(serve: Any) -> float:
        """The seconds that ten charges at once take."""
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            url = "redis://{}:{}/2".format(*server.sockets[0].getsockname())
            store = ValkeyStore(url, KeyTable({"k": LIMITS}), metrics)
            started = asyncio.get_running_loop().time()
            await asyncio.gather(*(store.take("k", [Demand(PER_MINUTE, 1)]) for _ in range(10)))
            taken = asyncio.get_running_loop().time() - started
            await store.close()
            return taken

    assert asyncio.run(burst(slow)) > 1.5  # longer than one answer may take
    assert b"tops_limits_store_failures_total 0.0" in metrics.exposition()[0]
    asyncio.run(burst(silent))
    assert b"tops_limits_store_failures_total 1.0" in metrics.exposition()[0]


def test_a_valkey_that_is_down_leaves_the_limits_to_each_gateway(tmp_path: Path) -> None:
    async def run() -> None:
        metrics = Metrics()
        with valkey(tmp_path) as port:
            url = f"redis://127.0.0.1:{port}"
            store = ValkeyStore(url, KeyTable({"k": [REQUESTS]}), metrics)
            strict = ValkeyStore(url, None, metrics)
            for each in (store, strict):
                assert (await each.take("k", [Demand(REQUESTS, 1)])).refused is None
        assert b"tops_limits_store_up 1.0" in metrics.exposition()[0]
        with pytest.raises(LimitsUnavailable):
            await strict.take("k", [Demand(REQUESTS, 1)])
        results = [await store.take("k", [Demand(REQUESTS, 1)]) for _ in range(4)]
        assert [taken.refused for taken in results] == [None, None, None, REQUESTS]
        store.settle("k", [Demand(REQUESTS, 0, True)])
        assert b"tops_limits_store_up 0.0" in metrics.exposition()[0]
        store._down_until = strict._down_until = 0.0
        with valkey(tmp_path, port):
            assert (await store.take("k", [Demand(REQUESTS, 1)])).refused is None
            assert (await strict.take("k", [Demand(REQUESTS, 1)])).refused is None
        await store.close()
        await strict.close()

    asyncio.run(run())
