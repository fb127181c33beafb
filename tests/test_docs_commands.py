"""Every command of the README and the guides runs as it is written, or says what it needs.

Blocks of a page run in order, in a folder of their own, against one server. A comment in front of a
block says otherwise:

    <!-- server -->         starts a server: its flags are checked, the tests' server stands in
    <!-- needs: X -->       needs what is not here: not run
    <!-- run by: FILE -->   takes long: that test file runs it
    <!-- file: NAME -->     a file that later commands of the page read

Names of commands, flags, settings and make targets are checked in all of them. A response that is
shown with its status has the headers and fields of the one that the command gets.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest
from engines import DEMO, running
from paths import ROOT
from processes import serving

import tops
from loadtest.plan import read_plan
from models.training.recipe import Model
from models.training.recipe_data import Data
from models.training.recipe_gate import Gate
from models.training.recipe_grpo import Grpo
from models.training.recipe_hub import Hub
from server.config.load_settings import load_settings

SECONDS = 120
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md")), *sorted((DOCS / "guides").glob("*.md"))]
RECORDS = sorted((DOCS / "benchmarks").glob("*.md"))
"""Pages that show past runs: their commands are checked, and not run again."""

SHARED = ("Makefile", "loadtest", "models", "docker")
"""What commands read of the repository, in the folder where they run."""

BLOCK = re.compile(
    r"(?:^<!-- (?P<note>[^\n]*) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
RECIPE_TABLES = {"model": Model, "data": Data, "grpo": Grpo, "gate": Gate, "hub": Hub}
"""Tables of recipes that pages show; `model` is a name in settings."""

NOTES = ("server", "needs: ", "run by: ", "file: ")
PARTS = re.compile(r"^x-tops-.*$|\"\w+\":(?:\"[^\"]*\"|[\w.]+)", re.MULTILINE)
"""What is compared of a response that a page shows: headers of the gateway, and JSON fields."""

OF_ONE_RESPONSE = ('"id":', '"created":')


@dataclass(frozen=True)
class Block:
    """A fenced block of a page, with the comment in front of it."""

    note: str
    language: str
    text: str

    @property
    def commands(self) -> Iterator[str]:
        """The shell commands of a console block, without the output that it shows."""
        lines = iter(self.text.splitlines() if self.language == "console" else ())
        for line in lines:
            if line.startswith("$ "):
                command = line.removeprefix("$ ")
                while command.endswith("\\"):
                    command = command.removesuffix("\\") + next(lines).strip()
                yield command

    @property
    def shown(self) -> list[str]:
        """The parts of a response that the block shows, but those that no other one has."""
        parts = PARTS.findall(self.text.partition("\nHTTP/1.1 ")[2])
        return [part for part in parts if not part.startswith(OF_ONE_RESPONSE)]

    @property
    def runs(self) -> bool:
        """Whether it is to be run here."""
        return not self.note and self.language in ("console", "python")


def blocks(page: Path) -> list[Block]:
    found = BLOCK.finditer(page.read_text())
    return [Block(match["note"] or "", match["language"], match["text"]) for match in found]


@dataclass(frozen=True)
class Servers:
    """The gateway that stands in for port 8000, the engine for 8001, and the ledger's URL."""

    gateway: str
    engine: str
    ledger: str

    def addressed(self, text: str) -> str:
        """A text of a page with the addresses of these servers."""
        for shown, url in (("8000", self.gateway), ("8001", self.engine)):
            text = text.replace(f"127.0.0.1:{shown}", url.removeprefix("http://"))
        return text


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Generator[Servers]:
    folder = tmp_path_factory.mktemp("server")
    ledger = f"sqlite:///{folder / 'ledger.db'}"
    router = str(DEMO / "router.json")
    with (
        running("embedded") as engine,
        serving(
            *("--upstream", engine.url, "--router", router, "--ledger", ledger),
            *("--holdout-share", "0"),  # which would answer one request in fifty otherwise
            cwd=folder,
        ) as gateway,
    ):
        yield Servers(gateway.url, engine.url, ledger)


def environment(folder: Path, ledger: str) -> dict[str, str]:
    """PATH with `tops` and `python` of these tests, and a curl that fails on an error's status."""
    programs = folder / ".programs"
    programs.mkdir()
    for name, words in (("python", ""), ("tops", " -m tops")):
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec {sys.executable}{words} "$@"\n')
        program.chmod(0o755)
    (programs / ".curlrc").write_text(f"fail\nshow-error\nmax-time = {SECONDS}\n")
    own = {name: value for name, value in os.environ.items() if not name.startswith("TOPS_")}
    return {
        **own,
        "PATH": f"{programs}:{own['PATH']}",
        "CURL_HOME": str(programs),
        "PYTHONPATH": str(ROOT),
        "TOPS_LEDGER": ledger,
    }


RUN = [page for page in PAGES if any(block.runs for block in blocks(page))]


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.stem)
def test_the_commands_of_a_page_run(page: Path, servers: Servers, tmp_path: Path) -> None:
    for name in SHARED:
        (tmp_path / name).symlink_to(ROOT / name)
    variables = environment(tmp_path, servers.ledger)
    for block in blocks(page):
        text = servers.addressed(block.text)
        if block.note.startswith("file: "):
            (tmp_path / block.note.removeprefix("file: ")).write_text(text)
        if not block.runs:
            continue
        commands = [servers.addressed(command) for command in block.commands]
        for command in commands or [f"python -c {shlex.quote(text)}"]:
            done = subprocess.run(
                ["bash", "-c", command],
                cwd=tmp_path,
                env=variables,
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
            assert [part for part in block.shown if part not in done.stdout] == [], done.stdout


@pytest.mark.parametrize("page", [*PAGES, *RECORDS], ids=lambda page: page.stem)
def test_the_blocks_of_a_page_are_valid(page: Path, tmp_path: Path) -> None:
    for block in blocks(page):
        assert not block.note or block.note.startswith(NOTES), block.note
        if block.note.startswith("run by: "):
            assert (ROOT / block.note.removeprefix("run by: ")).is_file(), block.note
        if block.language == "json":
            json.loads(block.text)
        elif block.language == "python":
            compile(block.text, str(page), "exec")
        elif block.language == "toml":
            check_toml(block.text, tmp_path / "block.toml")
        for command in block.commands:
            check_command(shlex.split(command, comments=True))


def check_toml(text: str, file: Path) -> None:
    """A plan for a load test, tables of a recipe, or settings."""
    file.write_text(text)
    table = tomllib.loads(text)
    if "arms" in table:
        read_plan(file)
    elif any(isinstance(table.get(name), dict) for name in RECIPE_TABLES):
        for name, part in table.items():
            RECIPE_TABLES[name].model_validate(part)
    else:
        load_settings({"config": str(file)})


def check_command(words: list[str]) -> None:
    """The command's name, target and flags exist; settings of a server are usable."""
    if words[0] == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert {word for word in words[1:] if "=" not in word} <= set(targets), words
        flags = next((word for word in words if word.startswith("ARGS=")), "ARGS=")
        if words[1] == "serve":
            load_settings(parsed("serve", shlex.split(flags.removeprefix("ARGS="))))
    elif words[0] == "tops":
        options = parsed(words[1], [word for word in words[2:] if word not in (">", "|")])
        if words[1] == "serve":
            load_settings(options)


def parsed(name: str, words: list[str]) -> dict[str, Any]:
    """The options of a `tops` command, which is not called."""
    command = tops.cli.get_command(click.Context(tops.cli), name)
    assert command is not None, name
    return command.make_context(name, words, resilient_parsing=True).params
