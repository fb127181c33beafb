"""Children start in any folder: the user's own `server.py` or `models.py` is never imported."""

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest
from paths import ROOT
from polling import PATIENCE_SECONDS
from processes import serving

from child_python import avoid_working_folder, path_variables, python_command
from models.training.launch import run_training
from models.training.recipe import Launch
from models.training.worker_process import worker_process

MARKER = "imported.txt"
HOSTILE = ("server.py", "models.py", "router/__init__.py", "loadtest.py", "child_python.py")
STANDARD = ("signal.py", "random.py", "selectors.py", "click.py")
"""Names that a console script does not search for in the working folder, unlike `python -m`."""


def hostile(folder: Path, *files: str) -> Path:
    """A folder whose modules note that they were imported, and fail."""
    for name in files:
        file = folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(
            f"open({str(folder / MARKER)!r}, 'a').write(__file__ + '\\n')\nraise SystemExit(9)\n"
        )
    return folder


def imported(folder: Path) -> str:
    marker = folder / MARKER
    return marker.read_text() if marker.exists() else ""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_serve_starts_in_a_folder_with_modules_of_the_same_names(
    tmp_path: Path, workers: str
) -> None:
    folder = hostile(tmp_path, *HOSTILE[:4])
    with serving("--workers", workers, cwd=folder) as server:
        answer = httpx.post(
            f"{server.url}/v1/chat/completions",
            json={"messages": [{"role": "user", "content": "1 + 1?"}], "reasoning_effort": "none"},
            timeout=PATIENCE_SECONDS,
        )
        assert answer.status_code == 200
    assert not imported(folder)


@pytest.mark.parametrize(
    "python_path", ["", os.pathsep, f".{os.pathsep}"], ids=["unset", "empty entry", "dot"]
)
def test_training_s_children_import_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, python_path: str
) -> None:
    folder = hostile(tmp_path, *HOSTILE)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", python_path)
    run_training(Launch(), "models.training.recipe", tmp_path)  # imported, then left with status 0
    with worker_process(python_command("server.embedded", "--help"), tmp_path / "log") as process:
        assert process.wait(60) == 0
    assert "embedded" in (tmp_path / "log").read_text()
    assert not imported(folder)


def test_a_child_runs_the_checkout_of_its_parent(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", "import router; print(router.__file__)"],
        cwd=hostile(tmp_path, *HOSTILE),
        env={**os.environ, **path_variables()},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(ROOT / "router" / "__init__.py")


@pytest.mark.parametrize(("length", "method"), [(75, "forkserver"), (76, "spawn"), (200, "spawn")])
def test_processes_start_however_long_the_temporary_folder_s_path_is(
    tmp_path: Path, length: int, method: str
) -> None:
    folder = Path("/tmp") / ("x" * (length - len("/tmp/")))
    script = tmp_path / "script.py"
    script.write_text(
        "from child_python import process_context\n"
        "if __name__ == '__main__':\n"
        "    context = process_context('json')\n"
        "    process = context.Process(target=print, args=('started',))\n"
        "    process.start()\n"
        "    process.join()\n"
        "    print(context.get_start_method(), process.exitcode)\n"
    )
    folder.mkdir(exist_ok=True)
    try:
        done = subprocess.run(
            [sys.executable, str(script)],
            env={**os.environ, **path_variables(), "TMPDIR": str(folder)},
            capture_output=True,
            text=True,
            check=True,
        )
    finally:
        shutil.rmtree(folder)
    assert done.stdout.splitlines() == ["started", f"{method} 0"]


def test_the_working_folder_leaves_the_path_unless_it_is_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path), "", str(ROOT), "/usr/lib"])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", str(tmp_path), "/usr/lib"]))
    monkeypatch.setenv("PYTHONSAFEPATH", "")
    monkeypatch.chdir(tmp_path)
    avoid_working_folder()
    assert sys.path == [str(ROOT), "/usr/lib"]
    assert os.environ["PYTHONPATH"] == os.pathsep.join([str(ROOT), "/usr/lib"])
    assert os.environ["PYTHONSAFEPATH"] == "1"
    monkeypatch.chdir(ROOT)
    avoid_working_folder()
    assert str(ROOT) in sys.path


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The console script of a wheel, in an environment that sees this one's dependencies."""
    for tool in ("pip", "setuptools"):
        if find_spec(tool) is None:
            pytest.skip(f"{tool} is not installed")
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(
        ROOT,
        source,
        ignore=lambda _, names: {
            name for name in names if name.startswith(".") or name in {"tests", "build", "docs"}
        },
    )
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    offline = ["--no-deps", "--no-index"]
    wheel = [*pip, "wheel", *offline, "--no-build-isolation", "--wheel-dir", str(folder)]
    subprocess.run([*wheel, str(source)], check=True, cwd=folder)
    environment = folder / "environment"
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True, cwd=folder
    )
    paths = sysconfig.get_paths(vars={"base": str(environment), "platbase": str(environment)})
    others = [entry for entry in sys.path if Path(entry).name == "site-packages"]
    (Path(paths["purelib"]) / "dependencies.pth").write_text("\n".join(others))
    python = str(environment / "bin" / "python")
    (built,) = folder.glob("*.whl")
    # this environment's own installation, which is visible there, must not count as the wheel's
    install = [*pip, "--python", python, "install", "--ignore-installed", "--no-compile", *offline]
    subprocess.run([*install, str(built)], check=True, cwd=folder)
    return environment / "bin" / "tops"


def test_an_installed_wheel_serves_from_any_folder(installed: Path, tmp_path: Path) -> None:
    folder = hostile(tmp_path, *HOSTILE, *STANDARD)
    inherited = {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}
    flags = ["--port", "0", "--ledger", "", "--workers", "2"]
    process = subprocess.Popen(
        [str(installed), "serve", *flags],
        cwd=folder,
        env=inherited,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        announcement = process.stdout.readline()
        assert announcement.startswith("ready: "), announcement
        url = announcement.split()[1]
        assert httpx.get(f"{url}/models").json()["data"][0]["id"] == "demo"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        assert process.stdout is not None
        process.stdout.close()
    assert not imported(folder)


def test_an_installed_wheel_plans_a_training_from_any_folder(
    installed: Path, tmp_path: Path
) -> None:
    folder = hostile(tmp_path, *HOSTILE, *STANDARD)
    inherited = {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}
    recipe = ROOT / "models" / "recipes" / "qwen3-8b.toml"
    done = subprocess.run(
        [str(installed), "train", "plan", str(recipe)],
        cwd=folder,
        env=inherited,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "hours on" in done.stdout
    assert not imported(folder)
