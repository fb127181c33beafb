"""Opens files of outcomes: gzip and Zstandard are recognised by content."""

import gzip
import io
import zlib
from pathlib import Path
from typing import IO, TextIO, cast

from router.logs.row import OutcomeError
from router.logs.zstandard import ZstdError, open_zstandard

DAMAGE = (EOFError, OSError, UnicodeDecodeError, zlib.error, ZstdError)
"""What reading raises where a file is truncated or damaged."""
_ENCODING = "utf-8-sig"
"""UTF-8, with or without the byte order mark that spreadsheets write."""
_GZIP, _ZSTANDARD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


def open_bytes(path: str) -> IO[bytes]:
    """A file's content, decompressed. Raises OutcomeError: it cannot be opened."""
    try:
        stream = Path(path).open("rb")  # noqa: SIM115 - the caller closes it
    except OSError as error:
        raise OutcomeError(f"{path} cannot be opened: {error.strerror}") from error
    if not Path(path).is_file():  # a pipe, which is read once
        return stream
    magic = stream.peek(len(_ZSTANDARD))
    if magic.startswith(_GZIP) or path.endswith(".gz"):
        stream.close()
        return cast("IO[bytes]", gzip.open(path))
    if magic.startswith(_ZSTANDARD):
        stream.close()
        return cast("IO[bytes]", open_zstandard(path))
    return stream


def open_text(path: str) -> TextIO:
    """A file's text, decompressed. Raises OutcomeError: it cannot be opened."""
    return io.TextIOWrapper(open_bytes(path), encoding=_ENCODING, newline="")
