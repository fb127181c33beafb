"""The command line: help without imports, suggestions, completion, exit statuses."""

import importlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import click
import pytest
from click.testing import CliRunner, Result
from paths import ROOT
from processes import run_tops

import tops

HEAVY = ("numpy", "pydantic", "fastapi", "sqlalchemy", "torch", "server", "router", "models")


def run(*argv: str, **options: Any) -> Result:
    return CliRunner().invoke(tops.cli, argv, **options)


@pytest.mark.parametrize(
    ("lower", "upper", "exempt"),
    [
        ("", "", "localhost,127.0.0.1,::1"),
        ("", "a.example", "a.example,localhost,127.0.0.1,::1"),
        ("b.example,127.0.0.1", "a.example", "b.example,127.0.0.1,localhost,::1"),
        ("*", "", "*"),
    ],
)
def test_loopback_is_exempt_from_proxies_beside_what_the_environment_names(
    lower: str, upper: str, exempt: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", lower)
    monkeypatch.setenv("NO_PROXY", upper)
    for _ in range(2):
        assert tops.main(["--version"]) == 0
        assert os.environ["no_proxy"] == exempt


@pytest.mark.parametrize("name", sorted(tops.COMMANDS))
def test_every_command_has_a_help_text(name: str) -> None:
    result = run(name, "--help")
    assert result.exit_code == 0
    assert f"tops {name} " in result.output or f"Usage: cli {name} " in result.output


@pytest.mark.parametrize("name", sorted(tops.COMMANDS))
def test_help_texts_show_no_python_types(name: str) -> None:
    text = run(name, "--help").output
    for word in ("Optional", "tuple[", "Literal", "SecretStr", "Path]", "None", "INTEGER", "FLOAT"):
        assert word not in text, word


@pytest.mark.parametrize("name", sorted(tops.COMMANDS))
def test_every_option_is_explained(name: str) -> None:
    module, attribute = tops.COMMANDS[name][1].split(":")
    command: click.Command = getattr(importlib.import_module(module), attribute)
    assert command.name == name
    for option in command.params:
        assert isinstance(option, click.Argument) or option.hidden or option.help, option.name


def test_without_a_command_the_most_used_come_with_examples() -> None:
    result = run()
    assert result.exit_code == 2
    assert run("--help").exit_code == 0
    for text in ("Most used", "tops serve --upstream", "Further commands", "replay"):
        assert text in result.output


@pytest.mark.parametrize(
    ("argv", "suggestion"),
    [
        (["serv"], "serve"),
        (["xyzzy"], None),
        (["versoin"], None),
        (["--versio"], "--version"),
        (["serve", "--upstraem", "x"], "--upstream"),
        (["serve", "--prot"], "Did you mean --port?"),
        (["serve", "--no-ledger"], "Did you mean --ledger?"),
        (["serve", "--drain-second"], None),
        (["serve", "--xyzzy"], None),
    ],
)
def test_only_similar_names_are_suggested(argv: list[str], suggestion: str | None) -> None:
    done = run_tops(*argv)
    assert done.returncode == 2
    assert argv[-1 if len(argv) == 1 else 1] in done.stderr
    assert ("Did you mean" in done.stderr) == (suggestion is not None)
    assert (suggestion or "") in done.stderr


def test_completion_lists_commands_options_and_choices() -> None:
    def completed(line: str, position: int) -> str:
        environment = {
            "COMP_WORDS": line,
            "COMP_CWORD": str(position),
            "_TOPS_COMPLETE": "bash_complete",
        }
        return CliRunner().invoke(tops.cli, [], env=environment, prog_name="tops").output

    assert "plain,replay" in completed("tops re", 1)
    assert "plain,--max-loss" in completed("tops serve --max", 2)
    assert "--drain-seconds" not in completed("tops serve --dra", 2)
    assert "plain,quality" in completed("tops serve --policy q", 3)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell: str) -> None:
    result = run("completion", shell)
    assert result.exit_code == 0
    assert "_TOPS_COMPLETE" in result.output


@pytest.mark.parametrize("argv", [["--help"], ["--version"], ["xyzzy"], ["completion", "zsh"]])
def test_help_and_completion_import_no_package(argv: list[str]) -> None:
    program = (
        f"import sys, tops; tops.main({argv!r}); print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    process = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert process.stdout.splitlines()[-1] == "[]"


def test_the_version_is_that_of_the_package() -> None:
    process = subprocess.run(
        [sys.executable, "-m", "tops", "--version"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert process.stdout.startswith("tops 0.")


def test_problems_loads_no_numpy() -> None:
    program = "import sys, tops; tops.main(['problems', '--n', '1']); print('numpy' in sys.modules)"
    process = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert process.stdout.splitlines()[-1] == "False"


def test_problems_prints_ten_by_default() -> None:
    rows = [json.loads(line) for line in run("problems").output.splitlines()]
    assert len(rows) == 10
    assert rows[0].keys() == {"problem_id", "prompt", "answer", "difficulty"}


def test_ctrl_c_ends_a_command_quietly() -> None:
    words = [sys.executable, "-m", "tops", "problems", "--n", "1000000000"]
    with subprocess.Popen(
        words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.stdout.close()
        assert process.stderr.read().strip() == b""
    assert process.returncode in {0, 130}


def test_an_interrupt_anywhere_in_a_command_is_status_130(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("server.api_keys.new_key", interrupt)
    assert tops.main(["key", "a"]) == 130
    assert capfd.readouterr().err.strip() == ""


def test_an_interrupt_after_the_reader_left_is_quiet() -> None:
    program = """
import sys, tops
def write_and_stop(*_, **__):
    sys.stdout.write("buffered")
    raise KeyboardInterrupt
tops.cli.main = write_and_stop
sys.exit(tops.main())
"""
    reader, writer = os.pipe()
    os.close(reader)
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    process = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        stdout=writer,
        stderr=subprocess.PIPE,
        env=buffered,
        check=False,
    )
    os.close(writer)
    assert (process.returncode, process.stderr) == (130, b"")


def run_into(
    stdout: IO[str] | int, *words: str, text: str | None = None
) -> subprocess.CompletedProcess[str]:
    """A run of `tops` whose output goes there."""
    return subprocess.run(
        [sys.executable, "-m", "tops", *words],
        cwd=ROOT,
        input=text,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )


def errors_without_reader(*words: str, text: str | None = None) -> str:
    """What a command writes to standard error whose reader of standard output has left."""
    reader, writer = os.pipe()
    os.close(reader)
    process = run_into(writer, *words, text=text)
    os.close(writer)
    return process.stderr


def test_a_reader_of_verdicts_that_left_is_no_traceback() -> None:
    lines = '{"id": 1, "response": "5", "answer": "5"}\n' * 20
    assert errors_without_reader("judge", text=lines) == ""


FILES = [
    *(("fit", "x", "--out"), ("audit", "x", "--plot"), ("audit", "--engine", "http://x", "--out")),
    *(("replay", "x", "--router", "r", "--plot"), ("generate", "p", "--out"), ("ledger", "export")),
    *(("calibrate", "--model", "m", "--problems", "p", name) for name in ("--out", "--outcomes")),
    *(("load", "plan.toml", name) for name in ("--json", "--csv", "--html", "--records")),
]


@pytest.mark.parametrize("words", FILES, ids=" ".join)
def test_a_file_that_cannot_be_written_is_refused_before_the_work(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    for file, reason in (
        (".", "is a directory"),
        ("/", "is a directory"),
        ("", "is no file: name one"),
        (str(tmp_path / "no" / "x"), f"there is no folder {tmp_path / 'no'}: make it"),
    ):
        result = run(*words, file)
        assert result.exit_code == 2
        assert reason in result.output


def test_the_help_of_commands_within_a_command_is_whole() -> None:
    listed = run("ledger", "--help", terminal_width=80).output.partition("Commands:")[2]
    assert "export" in listed
    assert not re.search(r"\.\.\.|…", listed)


def test_the_folder_of_a_run_is_no_file() -> None:
    result = run("train", "plan", "recipe.toml", "--run", __file__)
    assert result.exit_code == 2
    assert "is a file" in result.output


def test_a_full_disk_and_a_reader_that_left_are_no_traceback() -> None:
    with Path("/dev/full").open("w") as full:
        process = run_into(full, "key", "a")
    assert process.returncode == 1
    assert process.stderr == "Error: [Errno 28] No space left on device\n"
    assert errors_without_reader("key", "a") == ""
