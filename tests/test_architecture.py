"""The architecture, held by tests: import arrows, a light server, shipped files."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

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
