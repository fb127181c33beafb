"""How many connections may be open, and which of them gives way."""

import errno
import resource

import pytest

from server.engines.connector import unreachable
from server.http.connection_pool import ConnectionPool


class Client:
    def __init__(self, pool: ConnectionPool) -> None:
        self.pool = pool
        self.is_evicted = False
        self.has_room = pool.open(self)

    def evict(self) -> None:
        self.is_evicted = True


def test_the_connection_that_waits_longest_gives_way() -> None:
    pool = ConnectionPool(3)
    first, second, third = (Client(pool) for _ in range(3))
    pool.end_wait(first)
    pool.wait(first)  # after its request
    assert Client(pool).has_room
    assert [client.is_evicted for client in (first, second, third)] == [False, True, False]
    pool.close(second)  # the loop closes it later
    pool.end_wait(third)
    assert Client(pool).has_room
    assert first.is_evicted
    assert not third.is_evicted


def test_where_all_are_busy_the_next_is_refused_and_takes_no_room() -> None:
    pool = ConnectionPool(2)
    busy = [Client(pool) for _ in range(2)]
    for client in busy:
        pool.end_wait(client)
    refused = [Client(pool) for _ in range(20)]
    assert not any(client.has_room for client in refused)
    assert not pool.may_refuse_politely
    for client in refused:
        pool.wait(client)  # its refusal is being read
        pool.close(client)
    assert pool.may_refuse_politely
    pool.close(busy[0])
    assert Client(pool).has_room
    assert not any(client.is_evicted for client in (*busy, *refused))


def test_an_engine_s_connection_without_a_descriptor_says_so() -> None:
    error = OSError(errno.EMFILE, "Too many open files")
    assert "file descriptor" in unreachable(error).message


def test_a_limit_that_is_lowered_later_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = ConnectionPool()
    clients = [Client(pool) for _ in range(20)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 64))
    assert Client(pool).has_room
    assert sum(client.is_evicted for client in clients) == 5
    monkeypatch.setattr(resource, "getrlimit", lambda _: (3, 64))
    assert pool.maximum == 2


def test_file_descriptors_bound_the_setting() -> None:
    assert ConnectionPool(5).maximum == 5
    assert ConnectionPool(10**9).maximum == ConnectionPool().maximum < 10**8
