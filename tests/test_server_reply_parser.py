"""How an engine's reply is read out of bytes, however they arrive."""

import gzip
import zlib

import pytest
from httptools import HttpParserError

from server.engines.reply_parser import ReplyParser, UnreadableReply

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream; charset=utf-8\r\n"


def fed(raw: bytes, size: int | None = None) -> tuple[ReplyParser, bytes]:
    """A parser after a reply in segments of so many bytes, and the body."""
    parser, body = ReplyParser(), b""
    for start in range(0, len(raw), size or len(raw)):
        parser.feed(raw[start : start + (size or len(raw))])
        body += parser.take()
    return parser, body


@pytest.mark.parametrize("size", [None, 1, 7])
@pytest.mark.parametrize(
    ("raw", "keeps"),
    [
        (HEAD + b"content-length: 3\r\n\r\nabc", True),
        (HEAD + b"connection: close\r\ncontent-length: 3\r\n\r\nabc", False),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n1\r\na\r\n2;x=y\r\nbc\r\n0\r\n\r\n", True),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nstatus: 1\r\n\r\n", True),
        (b"HTTP/1.1 100 Continue\r\nx: y\r\n\r\n" + HEAD + b"content-length: 3\r\n\r\nabc", True),
        (HEAD.replace(b"\r\n", b"\n") + b"content-length: 3\n\nabc", True),
        (HEAD.replace(b"1.1", b"1.0") + b"content-length: 3\r\n\r\nabc", False),
    ],
    ids=["length", "close", "chunked", "trailer", "informational", "line feeds", "http 1.0"],
)
def test_a_reply_ends_where_its_frame_says(raw: bytes, keeps: bool, size: int | None) -> None:
    parser, body = fed(raw, size)
    assert (parser.status, body, parser.is_complete) == (200, b"abc", True)
    assert parser.is_stream
    assert parser.keeps_connection is keeps
    assert b"x" not in parser.headers
    assert b"status" not in parser.headers


def test_a_reply_without_a_frame_ends_with_its_connection() -> None:
    parser, body = fed(HEAD + b"\r\nabc")
    assert not parser.is_complete
    parser.feed_eof()
    assert (body, parser.is_complete, parser.keeps_connection) == (b"abc", True, False)


@pytest.mark.parametrize(
    "raw", [b"", b"HTTP/1.1 2", HEAD, HEAD + b"content-length: 9\r\n\r\nabc"], ids=len
)
def test_a_connection_that_ends_within_a_reply_is_an_error(raw: bytes) -> None:
    parser, _ = fed(raw) if raw else (ReplyParser(), b"")
    with pytest.raises(UnreadableReply):
        parser.feed_eof()


@pytest.mark.parametrize(
    ("coding", "encoded"),
    [(b"gzip", gzip.compress(b"abc" * 99, mtime=0)), (b"Deflate", zlib.compress(b"abc" * 99))],
)
def test_an_encoding_that_was_not_requested_is_decoded(coding: bytes, encoded: bytes) -> None:
    head = HEAD + b"content-encoding: %b\r\ncontent-length: %d\r\n\r\n" % (coding, len(encoded))
    assert fed(head + encoded, 5)[1] == b"abc" * 99
    with pytest.raises(UnreadableReply):
        fed(head + b"no encoding", 5)


def test_a_head_is_bounded() -> None:
    parser = ReplyParser()
    parser.feed(HEAD)
    with pytest.raises(UnreadableReply):
        for _ in range(99):
            parser.feed(b"x: %b\r\n" % (b"y" * 1000))


def test_a_change_of_protocol_that_nobody_asked_for_is_an_error() -> None:
    with pytest.raises(UnreadableReply):
        fed(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nabc")
    offered = HEAD + b"upgrade: h2c\r\nconnection: upgrade\r\ncontent-length: 3\r\n\r\nabc"
    assert fed(offered)[1] == b"abc"


def test_what_is_no_reply_is_an_error_and_what_follows_a_reply_is_none() -> None:
    with pytest.raises(HttpParserError):
        ReplyParser().feed(b"SSH-2.0-OpenSSH_9.6\r\n")
    parser = ReplyParser()
    with pytest.raises(HttpParserError):
        parser.feed(HEAD + b"content-length: 3\r\n\r\nabcSSH-2.0\r\n")
    assert (parser.take(), parser.is_complete) == (b"abc", True)
