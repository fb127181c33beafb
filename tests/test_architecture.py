"""The architecture, held by tests: import arrows, a light server, shipped files."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter

import pytest
from import_graph import PACKAGES, ROOT, import_graph, room

ALLOWED = {
    "child_python": set[str](),
    "router": set[str](),
    "server": {"router", "child_python"},
    "models": {"router", "child_python"},
    "loadtest": {"router", "child_python"},
}
"""The packages and root modules that each may import; `tops`, the command line, may import all."""

CHILD_PROCESSES = {"models": {"server"}, "loadtest": {"tops"}}
"""Those that each may also start as a child process, by the name of a module."""

OTHERS = "..."

FLOORS: dict[str, Sequence[Sequence[str]]] = {
    "server": (
        ("commands",),
        ("serve", "effort_audit"),
        ("workers",),
        ("app",),
        ("openapi", "error_handlers", "routes"),
        ("dashboard",),
        ("savings",),
        ("endpoints", "ledger"),
        ("lifecycle",),
        ("decide", "limits"),
        ("api_keys",),
        ("api", "gateway", "config"),
        ("engines", "embedded", "llamacpp"),
        ("http", "chat_templates"),
        ("errors", "observe"),
    ),
    "models": (
        ("commands",),
        ("options",),
        ("studies", "training"),
        ("outcomes",),
        ("sandbox", "domain"),
    ),
    "router": (("commands",), ("options",), ("evaluation",), ("fitting",), (OTHERS,)),
    "loadtest": (("bench", "chaos"), ("commands",), (OTHERS,), ("fake_engine",)),
}
"""The rooms of each package, top floor first: imports within a package only run downwards.

OTHERS are all rooms that no floor names; they may import one another.
"""

HEAVY = (
    "torch",
    "transformers",
    "sklearn",
    "pandas",
    "vllm",
    "tenacity",
    "tqdm",
    "redis",
    "opentelemetry.sdk",
)


def package(module: str) -> str:
    return module.partition(".")[0]


def outside(module: str, targets: frozenset[str]) -> set[str]:
    return {package(target) for target in targets} - {package(module)}


@pytest.mark.parametrize("name", sorted(ALLOWED))
def test_imports_follow_the_arrows(name: str) -> None:
    startable = ALLOWED[name] | CHILD_PROCESSES.get(name, set())
    for module, arrows in import_graph().items():
        if package(module) == name:
            assert outside(module, arrows.imported) <= ALLOWED[name], module
            assert outside(module, arrows.named) <= startable, module


def floors_of(name: str) -> dict[str, int]:
    """The floor of each room, 0 at the bottom."""
    floors = FLOORS[name]
    numbers = {
        tenant: floor for floor, tenants in enumerate(reversed(floors)) for tenant in tenants
    }
    rooms = {room(module) for module in import_graph() if package(module) == name} - {""}
    assert set(numbers) - {OTHERS} <= rooms, "FLOORS names a room that is gone"
    if OTHERS not in numbers:
        assert rooms <= set(numbers), "FLOORS lacks a room: give it a floor above all it imports"
        return numbers
    return {tenant: numbers.get(tenant, numbers[OTHERS]) for tenant in rooms}


@pytest.mark.parametrize("name", sorted(FLOORS))
def test_imports_within_a_package_run_downwards(name: str) -> None:
    floors = floors_of(name)
    others = floors.keys() - {tenant for tenants in FLOORS[name] for tenant in tenants}
    upwards: set[str] = set()
    for module, arrows in import_graph().items():
        for target in arrows.targets:
            if package(module) != name or package(target) != name:
                continue
            source, destination = room(module), room(target)
            if not source or not destination or source == destination:
                continue
            if floors[source] > floors[destination] or {source, destination} <= others:
                continue
            upwards.add(f"{module} -> {target}")
    assert not upwards


def test_no_modules_import_one_another_in_a_circle() -> None:
    # whoever starts `tops` as a child uses it as a user does
    graph = {module: arrows.targets - {"tops"} for module, arrows in import_graph().items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_every_arrow_of_the_graph_is_read() -> None:
    """Imports at the top, imports within functions, children by name, and modules in tables."""
    assert "router.router" in import_graph()["server.app"].imported
    assert "server.embedded" in import_graph()["models.training.serving"].named
    assert "models.training.trl_worker" in import_graph()["models.training.tuning"].named
    assert "tops" in import_graph()["loadtest.chaos.gateway_process"].named
    assert not [module for module, arrows in import_graph().items() if "tops" in arrows.imported]


def test_the_embedded_engine_is_independent_of_the_gateway() -> None:
    for module, arrows in import_graph().items():
        if module.startswith("server.embedded"):
            ours = {target for target in arrows.targets if package(target) in PACKAGES}
            rooms = ("server.embedded", "server.http", "server.chat_templates")
            assert all(target.startswith(rooms) for target in ours)


@pytest.mark.parametrize("module", ["server.app", "server.serve", "server.embedded.app"])
def test_serving_loads_nothing_heavy(module: str) -> None:
    program = f"import sys, {module}; print([m for m in {HEAVY!r} if m in sys.modules])"
    child = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert child.stdout.strip() == "[]"


def test_no_module_hides_one_of_the_standard_library() -> None:
    ours = {file.stem for name in PACKAGES for file in (ROOT / name).glob("*.py")}
    assert not ours & (sys.stdlib_module_names - {"__init__", "__main__"})


def test_every_shipped_toml_parses() -> None:
    files = [ROOT / "pyproject.toml", *(ROOT / "loadtest" / "plans").glob("*.toml")]
    files += (ROOT / "docker").glob("*.toml")
    for file in files:
        tomllib.loads(file.read_text())


def test_make_runs_every_test_that_needs_a_real_vllm() -> None:
    """`make test-vllm` names its files, since collecting all of them takes as long as a lane."""
    text = (ROOT / "Makefile").read_text()
    (named,) = re.findall(r"^VLLM_TESTS = (.*)$", text, re.MULTILINE)
    marked = re.compile(r"pytest\.mark\.vllm|^from engines import .*\b(?:ALL|BOTH)\b", re.MULTILINE)
    needing = {
        str(file.relative_to(ROOT))
        for file in (ROOT / "tests").glob("test_*.py")
        if marked.search(file.read_text())
    }
    training = {file for file in needing if "test_models_training" in file}
    assert needing - training - {"tests/test_architecture.py"} == set(named.split())


def test_the_files_whose_tests_run_first_are_there() -> None:
    """A file under another name would be run last, by one worker alone."""
    text = (ROOT / "tests" / "conftest.py").read_text()
    names = re.findall(r'"(\w+)"', text.partition("\nSLOWEST_FIRST = (")[2].partition("\n)")[0])
    files = [ROOT / "tests" / f"test_{name}.py" for name in names]
    assert files
    assert not [file.name for file in files if not file.is_file()]
