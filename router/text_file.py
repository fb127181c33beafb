"""Text files as users have them: UTF-8, with a byte order mark or without, or gzip of it (.gz)."""

import gzip
import zlib
from pathlib import Path


def read_text(file: Path) -> str:
    """The text of a file.

    Raises:
        ValueError: the file cannot be read, or is not text; the message names it and says why.
    """
    try:
        raw = file.read_bytes()
        return (gzip.decompress(raw) if file.suffix == ".gz" else raw).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not UTF-8 text") from error
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"{file} cannot be read: {reason}") from error
