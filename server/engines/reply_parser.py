"""Reads one HTTP reply out of the bytes of a connection. No clock, and no connection."""

import zlib
from collections.abc import Callable
from typing import Any, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

_MAX_HEAD_BYTES = 2**16
_AUTO_DETECT = 32 + zlib.MAX_WBITS
"""The header of gzip or of zlib."""

_DECODERS = {b"gzip": _AUTO_DETECT, b"x-gzip": _AUTO_DETECT, b"deflate": _AUTO_DETECT}
"""Content codings. None is asked for, but a proxy before an engine may use one all the same."""

_EVENT_FIELDS = (b"data:", b"event:", b"id:", b"retry:", b":")
_SNIFFED_PIECES = 3


class UnreadableReply(HttpParserError):  # noqa: N818 - named for what happened
    """The bytes are no HTTP reply that can be read."""


class ReplyParser:
    """One reply.

    Attributes:
        status: 0 until the head is complete.
        headers: the value of each, the first where it is repeated; names are in lower case.
        body: the pieces that arrived and were not taken.
        is_silent: whether no byte arrived.
        is_stream: whether the body is an event stream.
        is_complete: whether the body has come whole.
        keeps_connection: whether another request may follow.
        feed: reads bytes that arrived. Raises HttpParserError where they are no part of a reply;
            what came before them is in `body`.
    """

    __slots__ = (
        *("_decode", "_head_bytes", "_parser", "body", "feed", "headers", "is_complete"),
        *("is_silent", "is_stream", "keeps_connection", "on_body", "status"),
    )

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.body: list[bytes] = []
        self.is_silent = True
        self.is_stream = False
        self.is_complete = self.keeps_connection = False
        self.on_body = self.body.append
        self._head_bytes = 0
        self._decode: Callable[[bytes], bytes] | None = None
        self._parser = HttpResponseParser(self)
        self.feed: Callable[[bytes], None] = self._feed
        self._parser.set_dangerous_leniencies(  # as other clients read replies
            lenient_headers=True,
            lenient_optional_cr_before_lf=True,
            lenient_spaces_after_chunk_size=True,
        )

    def _feed(self, data: bytes) -> None:
        self.is_silent = False
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as error:  # which is no HttpParserError
            raise UnreadableReply("the connection changes its protocol") from error
        finally:
            if self._decode is not None and self.body:
                self._decode_body(self._decode)
        if not self.status:
            self._head_bytes += len(data)
            if self._head_bytes > _MAX_HEAD_BYTES:
                raise UnreadableReply("the head is too long")

    def feed_eof(self) -> None:
        """The connection has ended.

        Raises:
            UnreadableReply: the reply has not.
        """
        headers = self.headers
        is_framed = b"content-length" in headers or b"transfer-encoding" in headers
        if not self.is_complete and (is_framed or not self.status):
            raise UnreadableReply("the connection ended within the reply")
        self.is_complete, self.keeps_connection = True, False

    def release(self) -> None:
        """Let go of the parser, whose callbacks refer back: only a collection would free both."""
        self.feed, self._parser = _ignored, cast("Any", None)

    def begins_as_events(self) -> bool:
        """Whether a body whose type no header tells begins as an event stream; if so, it is one."""
        if self.headers.get(b"content-type") is None and len(self.body) <= _SNIFFED_PIECES:
            self.is_stream = b"".join(self.body).lstrip().startswith(_EVENT_FIELDS)
        return self.is_stream

    def take(self) -> bytes:
        """The body as far as it arrived and was not taken."""
        body = self.body
        taken = body[0] if len(body) == 1 else b"".join(body)
        body.clear()
        return taken

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.status:  # and is no trailer
            self.headers.setdefault(name.lower(), value)

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if 100 <= status < 200:  # the reply comes after it
            self.headers.clear()
            return
        self.status = status
        kind = self.headers.get(b"content-type", b"")
        self.is_stream = kind.partition(b";")[0].strip().lower() == b"text/event-stream"
        coding = self.headers.get(b"content-encoding", b"identity").strip().lower()
        if coding in _DECODERS:
            self._decode = zlib.decompressobj(_DECODERS[coding]).decompress
        else:
            self.feed = self._parser.feed_data

    def on_message_complete(self) -> None:
        if self.status:
            self.is_complete = True
            self.keeps_connection = self._parser.should_keep_alive()

    def _decode_body(self, decode: Callable[[bytes], bytes]) -> None:
        encoded = self.take()
        try:
            decoded = decode(encoded)
        except zlib.error as error:
            raise UnreadableReply(str(error)) from error
        if decoded:
            self.body.append(decoded)


def _ignored(data: bytes) -> None:
    """Bytes after the end."""
