"""Fixtures that several test files share."""

import atexit
import gc
import os
import re
import tempfile
from collections.abc import Generator
from functools import cache
from pathlib import Path

import certifi
import httpx
import hypothesis
import pytest
from ledgers import disposed_engines
from processes import Server, serving
from runaway_engine import RunawayEngine, runaway_engine
from scripted_engine import ScriptedEngine, scripted_engine

from tops import keep_loopback_from_proxies

PROCESS_STARTERS = re.compile(
    r"^\s*(?:from|import) "
    r"(?:engines|forked_command|models\.sandbox|models\.training\.serving|playwright|processes"
    r"|subprocess|training_forks|training_runs)\b",
    re.MULTILINE,
)
"""Imports with which a test file starts processes; the others' tests are unit tests."""

STARTING_FIXTURES = frozenset(["gateway", "front", "postgres"])
NOT_UNIT = rf"mark\.slow|\b(?:{'|'.join(sorted(STARTING_FIXTURES))})\b"
"""What stands in a file that starts no process itself, but has other tests than unit tests."""

SLOWEST_FIRST = (
    *("server_dashboard", "server_try_page", "server_workers", "server_embedded", "models_verify"),
    *("server_savings_estimator", "engine_contract", "docs_commands", "server_start_and_stop"),
    *("router_commands", "router_portable", "server_connection", "server_several_gateways"),
    *("models_calibrate", "server_ledger", "models_generate", "child_python", "demo_visitors"),
    *("server_fast_relay", "router_fit", "loadtest_chaos", "server_openapi", "docker_dashboards"),
    *("server_effort_audit", "server_effort_canary", "router_calibration", "server_serve"),
    *(
        "server_fleet",
        "server_shared_limits",
        "server_savings_report",
        "server_engine_failures",
        "examples",
    ),
)
"""The files that take longest, so that none of them is left for one worker at the end."""


def trust_one_certificate() -> None:
    """Name a file of one certificate as the trusted ones, for this process and its children.

    The tests speak to loopback only, and httpx loads all of certifi's 140 certificates for each
    client: 22 ms, which `httpx.get` takes each time.
    """
    end = "-----END CERTIFICATE-----\n"
    first = Path(certifi.where()).read_text().partition(end)[0] + end
    with tempfile.NamedTemporaryFile("w", suffix=".pem", delete=False) as file:
        file.write(first)
    atexit.register(Path(file.name).unlink, missing_ok=True)
    os.environ["SSL_CERT_FILE"] = file.name
    os.environ.pop("SSL_CERT_DIR", None)


def wait_patiently() -> None:
    """Let requests without a time-out of their own wait a minute; httpx waits five seconds."""
    timeout = httpx._config.DEFAULT_TIMEOUT_CONFIG
    timeout.connect = timeout.read = timeout.write = timeout.pool = 60.0


def leave_out_settings_of_the_shell() -> None:
    """Leave out the gateway's settings that whoever runs the tests may have set."""
    for name in [*os.environ]:
        if name.startswith("TOPS_"):
            del os.environ[name]


gc.disable()  # while tests are collected, which leaves no garbage
leave_out_settings_of_the_shell()
keep_loopback_from_proxies()
trust_one_certificate()
wait_patiently()
hypothesis.settings.register_profile(
    "loaded machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("loaded machine")
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # threads that wait for each other leave the core,
os.environ["OPENBLAS_NUM_THREADS"] = "1"  # and matrices of the tests are too small to share


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import no file of which `-m unit`, or `-m "not unit"`, deselects every test."""
    wanted = config.option.markexpr
    if wanted not in {"unit", "not unit"} or collection_path.suffix != ".py":
        return None
    starts = starts_processes(collection_path)
    exceptions = "mark.unit" if wanted == "unit" else NOT_UNIT
    if starts != (wanted == "unit") or re.search(exceptions, collection_path.read_text("utf-8")):
        return None
    return True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the slowest files first; mark what neither starts a process nor is `slow` as `unit`."""
    rank = {f"test_{name}": number for number, name in enumerate(SLOWEST_FIRST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))  # others stay as they are
    for item in items:
        fixtures = {*getattr(item, "fixturenames", ()), *re.split(r"[][-]", item.name)}
        starts = fixtures & STARTING_FIXTURES or starts_processes(item.path)
        if item.get_closest_marker("slow") or starts:
            continue
        item.add_marker(pytest.mark.unit)


def pytest_collection_finish() -> None:
    """Exempt what the test files loaded from garbage collection."""
    gc.freeze()
    gc.enable()


@cache
def starts_processes(file: Path) -> bool:
    return PROCESS_STARTERS.search(file.read_text("utf-8")) is not None


@pytest.fixture(autouse=True)
def _disposed_engines() -> Generator[None]:
    with disposed_engines():
        yield


@pytest.fixture(scope="session")
def gateway() -> Generator[str]:
    """The base URL of a gateway in front of its embedded engine."""
    with serving() as server:
        yield server.url


@pytest.fixture
def http() -> Generator[httpx.Client]:
    """An HTTP client that gives up after a minute."""
    with httpx.Client(timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def engine() -> Generator[ScriptedEngine]:
    """An engine that misbehaves on command."""
    with scripted_engine() as engine:
        yield engine


@pytest.fixture(scope="module")
def front(engine: ScriptedEngine) -> Generator[Server]:
    """A gateway in front of `engine`, which waits for it for three seconds."""
    limits = ("--upstream-timeout", "3")
    with serving("--upstream", f"http://127.0.0.1:{engine.port}/v1", *limits) as server:
        yield server


@pytest.fixture(scope="module")
def obedient_engine() -> Generator[RunawayEngine]:
    """An engine that thinks as long as it likes, within the budget that it is given."""
    with runaway_engine(obeys=10**9) as engine:
        yield engine
