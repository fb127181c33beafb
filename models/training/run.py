"""The folder of a run: a folder for each stage, with a manifest that is written last.

A stage is current, and skipped, if its manifest has the key of today's recipe and inputs. Results
of another recipe are moved aside as STAGE.KEY and moved back when the recipe returns, so variants
of a recipe share the stages that they have in common. A lock admits one command per run.
"""

import fcntl
import hashlib
import json
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path
from typing import Any, cast

from models.training.recipe import Recipe

MANIFEST = "manifest.json"
_STARTED = "started.json"
_TEMPORARY = {"trainer", "logs", "serving"}
"""Folders of a stage that are not results: checkpoints, TensorBoard's logs, converted weights."""
_UNHASHED: Mapping[str, Any] = {
    "engine": {"python", "urls", "concurrency", "start_seconds", "replicas", "gpus_each"},
    "verify": {"processes"},
    "grpo": {"vllm_url"},
    "seed": {"teacher": {"url", "flags", "concurrency"}},
    "mistakes": {"critic": {"url", "concurrency"}},
}
"""Keys of a recipe that change how a result is computed, but not the result."""
_HASHED_BYTES = 256 << 20
"""Larger input files are identified by their size and modification time."""


class RunError(Exception):
    """A run cannot go on; the message says why and what to do."""


@dataclass(frozen=True)
class StageContext:
    """What a stage works with: the recipe, its own folder, and the folders of its inputs."""

    recipe: Recipe
    folder: Path
    inputs: Mapping[str, Path]


@dataclass(frozen=True)
class Stage:
    """One stage of a run.

    `needs` are the stages whose results it reads. `tables` are the parts of the recipe that its
    results depend on: tables, or single keys as TABLE.KEY. `action` returns the entries of the
    manifest, mostly counts; called again after a kill, it continues.
    """

    name: str
    needs: Sequence[str]
    tables: Sequence[str]
    action: Callable[[StageContext], Mapping[str, Any]]


@dataclass
class Run:
    """A recipe that is carried out in the folder `path`; `log` gets a line of text at a time."""

    recipe: Recipe
    path: Path
    log: Callable[[str], None]
    _hashes: dict[Path, str] = field(default_factory=dict[Path, str])

    @contextmanager
    def locked(self) -> Generator[None]:
        """Hold the run's lock.

        Raises:
            RunError: another command holds it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise RunError(f"another tops train is running in {self.path}") from error
            yield

    def perform(self, stage: Stage) -> Mapping[str, Any]:
        """The stage's manifest, after computing what is missing of its results.

        Raises:
            RunError: a stage that it needs is not finished.
        """
        key = self._key(stage)
        folder = self._folder(stage.name, key)
        manifest = _read(folder / MANIFEST)
        if manifest is not None:
            self.log(f"{stage.name}: up to date in {folder}")
            return manifest
        self.log(f"{stage.name}: running in {folder}")
        start = time.monotonic()
        inputs = {name: self.path / name for name in stage.needs}
        results = stage.action(StageContext(self.recipe, folder, inputs))
        manifest = {
            "stage": stage.name,
            "key": key,
            **results,
            "seconds": round(time.monotonic() - start, 1),
            "inputs": {name: self._output_hash(name) for name in stage.needs},
            "outputs": _outputs(folder),
            "recipe": self.recipe.model_dump(mode="json"),
        }
        write_whole(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")
        summary = ", ".join(f"{name} {value}" for name, value in results.items())
        self.log(f"{stage.name}: {summary}")
        return manifest

    def _key(self, stage: Stage) -> str:
        """Identifies the stage's results before they exist, by all that they depend on."""
        tables = self.recipe.model_dump(
            mode="json", include=_tree((*stage.tables, "random_seed")), exclude=_UNHASHED
        )
        parts = {
            "stage": stage.name,
            "tables": tables,
            "files": {str(file): self._hash(file) for file in _files(tables)},
            "inputs": {name: self._output_hash(name) for name in stage.needs},
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _output_hash(self, name: str) -> str:
        """Identifies the results of a finished stage, whichever recipe they are from."""
        manifest = _read(self.path / name / MANIFEST)
        if manifest is None:
            raise RunError(
                f"{self.path / name} is not finished: run tops train {name} first, or all"
            )
        return hashlib.sha256(json.dumps(manifest["outputs"], sort_keys=True).encode()).hexdigest()

    def _folder(self, name: str, key: str) -> Path:
        """The stage's folder, with earlier results for this key; results for another move aside."""
        folder, archived = self.path / name, self.path / f"{name}.{key[:8]}"
        started = _read(folder / _STARTED)
        if folder.exists() and (started is None or started["key"] != key):
            aside = _free(self.path / f"{name}.{started['key'][:8] if started else 'broken'}")
            folder.rename(aside)
            self.log(
                f"{name}: the recipe or its inputs changed; earlier results are in {aside.name}"
            )
        if not folder.exists() and archived.exists():
            archived.rename(folder)
        folder.mkdir(exist_ok=True)
        write_whole(folder / _STARTED, json.dumps({"key": key}) + "\n")
        return folder

    def _hash(self, path: Path) -> str:
        if path not in self._hashes:
            self._hashes[path] = _hash(path)
        return self._hashes[path]


def _free(folder: Path) -> Path:
    """The folder, with a number behind its name where something is there already."""
    numbered = (folder.with_name(f"{folder.name}-{number}") for number in count(2))
    return next(free for free in chain([folder], numbered) if not free.exists())


def write_whole(file: Path, text: str) -> None:
    """Replace a file atomically: readers see the old text or the new one."""
    partial = file.with_suffix(".part")
    partial.write_text(text, encoding="utf-8")
    partial.replace(file)


def _read(file: Path) -> dict[str, Any] | None:
    try:
        return json.loads(file.read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def _tree(names: Iterable[str]) -> dict[str, Any]:
    """Names as pydantic's `include` takes them: TABLE for all of it, TABLE.KEY for one key."""
    tree: dict[str, Any] = {}
    for name in names:
        table, _, key = name.partition(".")
        if key:
            tree.setdefault(table, {})[key] = True
        else:
            tree[table] = True
    return tree


def _files(value: Any) -> list[Path]:
    """The files and folders that the values of a recipe name, as absolute paths."""
    if isinstance(value, Mapping):
        entries = cast("dict[str, Any]", value).values()
        return [file for entry in entries for file in _files(entry)]
    if isinstance(value, list):
        return [file for entry in cast("list[Any]", value) for file in _files(entry)]
    if isinstance(value, str) and value.startswith("/") and Path(value).exists():
        return [Path(value)]
    return []


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            status = file.stat()
            digest.update(str(file.relative_to(path)).encode())
            if status.st_size > _HASHED_BYTES:
                digest.update(f"{status.st_size} {status.st_mtime_ns}".encode())
            else:
                digest.update(file.read_bytes())
    return digest.hexdigest()


def _outputs(folder: Path) -> dict[str, str]:
    """SHA-256 of each result, by its path in the stage's folder."""
    hashes: dict[str, str] = {}
    for file in sorted(folder.rglob("*")):
        path = file.relative_to(folder)
        if file.is_file() and path.parts[0] not in {*_TEMPORARY, _STARTED, MANIFEST}:
            with file.open("rb") as stream:
                hashes[str(path)] = hashlib.file_digest(stream, "sha256").hexdigest()
    return hashes
