"""The folder of a run: one folder a stage, each with a manifest that is written last.

A stage whose manifest was made by the same recipe from the same inputs is current and is skipped.
One that was made otherwise is moved aside as STAGE.KEY and comes back when the recipe does, so that
variants of a recipe share what they have in common. Only one command works in a run at a time.
"""

import fcntl
import hashlib
import json
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from models.training.recipe import Recipe

MANIFEST = "manifest.json"
_STARTED = "started.json"
_SCRATCH = {"trainer", "logs", "serving"}
"""Folders of a stage that are no result: checkpoints, TensorBoard's logs, converted weights."""
_HOW: Mapping[str, Any] = {
    "engine": {"python", "urls", "concurrency", "start_seconds"},
    "verify": {"processes"},
    "seed": {"teacher": {"url", "concurrency"}},
    "mistakes": {"critic": {"url", "concurrency"}},
}
"""Keys of a recipe that change how a result is come by, and not the result."""
_HASHED_BYTES = 256 << 20
"""Inputs of more bytes are told apart by their size and time of change."""


class RunError(Exception):
    """A run cannot go on; the message says why and what to do."""


@dataclass(frozen=True)
class Work:
    """What a stage gets: the recipe, a folder of its own, and the folders of what it needs."""

    recipe: Recipe
    folder: Path
    inputs: Mapping[str, Path]


@dataclass(frozen=True)
class Stage:
    """One stage: which stages it `needs`, what of the recipe it goes by, and its `work`.

    `tables` names tables, or single keys as TABLE.KEY.
    `work` returns what its manifest tells, counts above all; called again after a kill it goes on.
    """

    name: str
    needs: Sequence[str]
    tables: Sequence[str]
    work: Callable[[Work], Mapping[str, Any]]


@dataclass
class Run:
    """A recipe at work in a folder."""

    recipe: Recipe
    path: Path
    say: Callable[[str], None]
    _hashes: dict[Path, str] = field(default_factory=dict[Path, str])

    @contextmanager
    def locked(self) -> Generator[None]:
        """Keep others out.

        Raises:
            RunError: another command works in this folder.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise RunError(f"another tops train works in {self.path}") from error
            yield

    def perform(self, stage: Stage) -> Mapping[str, Any]:
        """The stage's manifest, after doing what is left of it.

        Raises:
            RunError: a stage that it needs has not been done.
        """
        key = self._key(stage)
        folder = self._folder(stage.name, key)
        done = _read(folder / MANIFEST)
        if done is not None:
            self.say(f"{stage.name}: there already in {folder}")
            return done
        self.say(f"{stage.name}: works in {folder}")
        begun = time.monotonic()
        told = stage.work(Work(self.recipe, folder, {one: self.path / one for one in stage.needs}))
        manifest = {
            "stage": stage.name,
            "key": key,
            **told,
            "seconds": round(time.monotonic() - begun, 1),
            "inputs": {one: self._made_by(one) for one in stage.needs},
            "outputs": _outputs(folder),
            "recipe": self.recipe.model_dump(mode="json"),
        }
        write_whole(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")
        self.say(f"{stage.name}: {', '.join(f'{name} {value}' for name, value in told.items())}")
        return manifest

    def _key(self, stage: Stage) -> str:
        tables = self.recipe.model_dump(
            mode="json", include=_tree((*stage.tables, "random_seed")), exclude=_HOW
        )
        parts = {
            "stage": stage.name,
            "tables": tables,
            "files": {str(file): self._hash(file) for file in _files(tables)},
            "inputs": {one: self._made_by(one) for one in stage.needs},
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _made_by(self, name: str) -> str:
        """What tells the results of a stage that is needed, however they were made."""
        manifest = _read(self.path / name / MANIFEST)
        if manifest is None:
            raise RunError(
                f"{self.path / name} is not finished: run tops train {name} first, or all"
            )
        return hashlib.sha256(json.dumps(manifest["outputs"], sort_keys=True).encode()).hexdigest()

    def _folder(self, name: str, key: str) -> Path:
        """The stage's folder, with what was done for this key so far."""
        folder, kept = self.path / name, self.path / f"{name}.{key[:8]}"
        started = _read(folder / _STARTED)
        if folder.exists() and (started is None or started["key"] != key):
            other = started["key"][:8] if started else "broken"
            folder.rename(self.path / f"{name}.{other}")
            self.say(f"{name}: the recipe or its inputs changed; kept as {name}.{other}")
        if not folder.exists() and kept.exists():
            kept.rename(folder)
        folder.mkdir(exist_ok=True)
        write_whole(folder / _STARTED, json.dumps({"key": key}) + "\n")
        return folder

    def _hash(self, path: Path) -> str:
        if path not in self._hashes:
            self._hashes[path] = _hash(path)
        return self._hashes[path]


def write_whole(file: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all."""
    part = file.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(file)


def _read(file: Path) -> dict[str, Any] | None:
    try:
        return json.loads(file.read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def _tree(names: Iterable[str]) -> dict[str, Any]:
    """Names as pydantic takes them: TABLE whole, of TABLE.KEY only the keys."""
    tree: dict[str, Any] = {}
    for name in names:
        table, _, key = name.partition(".")
        if key:
            tree.setdefault(table, {})[key] = True
        else:
            tree[table] = True
    return tree


def _files(value: Any) -> list[Path]:
    """Files and folders that a recipe's values name; absolute, as a read recipe has them."""
    if isinstance(value, Mapping):
        return [file for one in cast("dict[str, Any]", value).values() for file in _files(one)]
    if isinstance(value, list):
        return [file for one in cast("list[Any]", value) for file in _files(one)]
    if isinstance(value, str) and value.startswith("/") and Path(value).exists():
        return [Path(value)]
    return []


def _hash(path: Path) -> str:
    whole = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            told = file.stat()
            whole.update(str(file.relative_to(path)).encode())
            if told.st_size > _HASHED_BYTES:
                whole.update(f"{told.st_size} {told.st_mtime_ns}".encode())
            else:
                whole.update(file.read_bytes())
    return whole.hexdigest()


def _outputs(folder: Path) -> dict[str, str]:
    """Each result's SHA-256, by its path in the stage's folder."""
    found: dict[str, str] = {}
    for file in sorted(folder.rglob("*")):
        path = file.relative_to(folder)
        if file.is_file() and path.parts[0] not in {*_SCRATCH, _STARTED, MANIFEST}:
            with file.open("rb") as stream:
                found[str(path)] = hashlib.file_digest(stream, "sha256").hexdigest()
    return found
