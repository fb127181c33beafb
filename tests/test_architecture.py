"""The architecture, held by tests: import arrows, a light server, shipped files, the README."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from server.config.settings import Settings
from server.engines.dialect import DIALECTS

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {"server", "router", "models", "loadtest"}
ALLOWED = {
    "router": set[str](),
    "server": {"router"},
    "models": {"router"},
    "loadtest": {"router"},  # what both count with; the server is reached over HTTP only
}
HEAVY = ("torch", "transformers", "sklearn", "pandas", "vllm", "tenacity", "tqdm")


def imported(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_imports_follow_the_arrows(package: str) -> None:
    for file in (ROOT / package).rglob("*.py"):
        others = {name.partition(".")[0] for name in imported(file)} & PACKAGES - {package}
        assert others <= ALLOWED[package], f"{file.relative_to(ROOT)} imports {others}"


def test_the_embedded_engine_knows_nothing_of_the_gateway() -> None:
    for file in (ROOT / "server" / "embedded").rglob("*.py"):
        ours = {name for name in imported(file) if name.partition(".")[0] in PACKAGES}
        assert all(name.startswith(("server.embedded", "server.http")) for name in ours), file.name


@pytest.mark.parametrize("module", ["server.app", "server.serve", "server.embedded.app"])
def test_serving_loads_nothing_heavy(module: str) -> None:
    program = f"import sys, {module}; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_no_module_hides_one_of_the_standard_library() -> None:
    ours = {file.stem for package in PACKAGES for file in (ROOT / package).glob("*.py")}
    assert not ours & (sys.stdlib_module_names - {"__init__", "__main__"})


def test_every_shipped_toml_parses() -> None:
    files = [ROOT / "pyproject.toml", *(ROOT / "loadtest" / "plans").glob("*.toml")]
    files += (ROOT / "docker").glob("*.toml")
    for file in files:
        tomllib.loads(file.read_text())


def test_the_readme_shows_the_tree_on_disk() -> None:
    readme = (ROOT / "README.md").read_text()
    block = re.search(r"<!-- tree -->\n```text\n(.*?)```", readme, re.DOTALL)
    assert block, "the README has no tree"
    shown = {line.split()[0] for line in block[1].splitlines() if line.strip()}
    tracked = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    there = {"tops.py"}
    for name in tracked:
        folder, _, file = name.rpartition("/")
        if folder.partition("/")[0] in PACKAGES and file.endswith(".py") and "__init__" not in file:
            there.add(name)
    assert shown == there


def test_the_readme_s_settings_table_is_the_settings() -> None:
    readme = (ROOT / "README.md").read_text()
    block = re.search(r"<!-- settings -->\n(.*?)\n\n", readme, re.DOTALL)
    assert block, "the README has no settings table"
    rows = re.findall(r"^\| `(\w+)` \| .* \| (.*) \|$", block[1], re.MULTILINE)
    fields = Settings.model_fields
    assert rows == [(name, field.description) for name, field in fields.items()]


def test_the_readme_s_dialects_are_the_dialects() -> None:
    readme = (ROOT / "README.md").read_text()
    block = re.search(r"<!-- dialects -->\n(.*?)\n\n", readme, re.DOTALL)
    assert block, "the README has no table of dialects"
    rows = re.findall(r"^\| `([\w.]+)` \| (.*?) \| (.*?) \|", block[1], re.MULTILINE)
    told = [(name, one.effort, one.budget or "-") for name, one in DIALECTS.items()]
    assert rows == told
