"""Reads what a GGUF file says of itself, without its lists and weights.

The format is described in the repository ggml-org/ggml. The package `gguf` reads all of a file's
lists as well, which takes seconds for a vocabulary of common size.
"""

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_MAGIC = b"GGUF"
_POINTER = b"version https://git-lfs"
_MODEL = "model"
_VERSIONS = (2, 3)
_NUMBERS = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?",
    10: "<Q", 11: "<q", 12: "<d",
}  # fmt: skip
"""Number types of the format, and how `struct` names them."""

_STRING, _ARRAY = 8, 9
_MAX_KEYS = 2**16
_MAX_TEXT_BYTES = 2**24


class GgufError(Exception):
    """The file is no usable GGUF file; the message says why, and what to do."""


@dataclass(frozen=True)
class GgufFile:
    """A GGUF file's own description.

    Args:
        path: of the file.
        fields: its metadata, less its lists; of a list, its length.
        size: bytes of all of the model's files.
    """

    path: Path
    fields: Mapping[str, Any]
    size: int

    @property
    def architecture(self) -> str:
        return str(self.fields.get("general.architecture", ""))

    @property
    def chat_template(self) -> str | None:
        template = self.fields.get("tokenizer.chat_template")
        return template if isinstance(template, str) and template.strip() else None

    @property
    def context(self) -> int | None:
        """Tokens that the model was trained with."""
        return self._count("context_length")

    def cache_bytes(self, tokens: int) -> int:
        """Bytes of the keys and values of so many tokens, at two bytes a number; 0 if unknown."""
        layers, heads = self._count("block_count"), self._count("attention.head_count")
        width = self._count("embedding_length")
        if not (layers and heads and width):
            return 0
        kv_heads = self._count("attention.head_count_kv") or heads
        keys = self._count("attention.key_length") or width // heads
        values = self._count("attention.value_length") or width // heads
        return 2 * tokens * layers * kv_heads * (keys + values)

    def _count(self, name: str) -> int | None:
        value = self.fields.get(f"{self.architecture}.{name}")
        return value if type(value) is int and value > 0 else None


def read_gguf(path: Path) -> GgufFile:
    """The description of a model, which may consist of several files.

    Raises:
        GgufError: there is no such file, it is no GGUF file, or a part of the model is missing.
    """
    if path.is_dir():
        raise GgufError(f"{path} is a folder: give the path of a .gguf file")
    if not path.is_file():
        raise GgufError(f"there is no file {path}: give the path of a .gguf file")
    fields = _read_fields(path)
    kind = fields.get("general.type", _MODEL)
    if kind != _MODEL:
        raise GgufError(f"{path} is no language model, but of type {kind}: give the model's")
    return GgufFile(path, fields, sum(part.stat().st_size for part in _parts(path, fields)))


def _parts(path: Path, fields: Mapping[str, Any]) -> list[Path]:
    """The files of a model, the first of which is `path`.

    Raises:
        GgufError: `path` is not the first part, or a part is missing.
    """
    count, number = fields.get("split.count"), fields.get("split.no", 0)
    if not isinstance(count, int) or count < 2:
        return [path]
    suffix = f"-{number + 1:05d}-of-{count:05d}.gguf"
    if not path.name.endswith(suffix):
        raise GgufError(
            f"{path.name} is part {number + 1} of {count} of a model, and is not named so: give "
            f"every part its name as published, which ends in {suffix}"
        )
    stem = path.name.removesuffix(suffix)
    parts = [path.with_name(f"{stem}-{part + 1:05d}-of-{count:05d}.gguf") for part in range(count)]
    missing = [part.name for part in parts if not part.is_file()]
    if missing:
        raise GgufError(
            f"parts of the model are missing beside {path.name}, {len(missing)} of {count}: "
            f"download {', '.join(missing[:3])}{' and others' if missing[3:] else ''}"
        )
    if number != 0:
        raise GgufError(f"{path.name} is part {number + 1} of {count}: give {parts[0].name}")
    for part in parts[1:]:
        _read_fields(part)
    return parts


def _read_fields(path: Path) -> dict[str, Any]:
    """The metadata of a file.

    Raises:
        GgufError: it has none, or cannot be read.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _Reader(data, path).fields()
    except ValueError as error:  # of an empty file
        raise GgufError(f"{path} is empty: download it again") from error
    except OSError as error:
        raise GgufError(f"{path} cannot be read: {error.strerror or error}") from error


class _Reader:
    """Reads a file's metadata from its bytes."""

    def __init__(self, data: mmap.mmap, path: Path) -> None:
        self._data, self._path = data, path
        self._at = 0

    def fields(self) -> dict[str, Any]:
        """The metadata by key; of a list, its length.

        Raises:
            GgufError: the bytes are no GGUF file, or end within the metadata.
        """
        if self._data[: len(_POINTER)] == _POINTER:
            raise GgufError(
                f"{self._path} is a pointer of Git LFS, not the model: run 'git lfs pull' in its "
                "repository, or download the file itself"
            )
        if self._data[:4] != _MAGIC:
            raise GgufError(
                f"{self._path} is no GGUF file: convert the model to GGUF (llama.cpp's "
                "convert_hf_to_gguf.py), or download a .gguf file of it"
            )
        self._at = 4
        try:
            version = self._number("<I")
            if version not in _VERSIONS:
                raise GgufError(
                    f"{self._path} has version {version} of the GGUF format, of which 2 and 3 are "
                    "known: convert the model again"
                )
            self._number("<Q")  # tensors
            count = min(self._number("<Q"), _MAX_KEYS)
            return {self._text(): self._value(self._number("<I")) for _ in range(count)}
        except (struct.error, IndexError, KeyError) as error:
            raise GgufError(
                f"{self._path} is damaged or incomplete: download or convert it again"
            ) from error

    def _number(self, form: str) -> Any:
        (number,) = struct.unpack_from(form, self._data, self._at)
        self._at += struct.calcsize(form)
        return number

    def _text(self) -> str:
        size = self._number("<Q")
        start = self._at
        self._skip(size)
        if size > _MAX_TEXT_BYTES:
            raise IndexError
        return self._data[start : self._at].decode(errors="replace")

    def _skip(self, size: int) -> None:
        self._at += size
        if self._at > len(self._data):
            raise IndexError

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._text()
        return self._list() if kind == _ARRAY else self._number(_NUMBERS[kind])

    def _list(self) -> int:
        """The length of a list, which is skipped."""
        kind, count = self._number("<I"), self._number("<Q")
        if kind == _ARRAY:
            for _ in range(count):
                self._list()
        elif kind == _STRING:
            unpack, data, at = struct.Struct("<Q").unpack_from, self._data, self._at
            end = len(data)
            for _ in range(count):
                at += 8 + unpack(data, at)[0]
                if at > end:
                    raise IndexError
            self._at = at
        else:
            self._skip(count * struct.calcsize(_NUMBERS[kind]))
        return count
