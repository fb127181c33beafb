"""The command line: every command is there, unknown ones are named."""

import importlib

import pytest

import tops


@pytest.mark.parametrize("command", sorted(tops._COMMANDS))
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    module, function, _ = tops._COMMANDS[command]
    assert callable(getattr(importlib.import_module(module), function))
    with pytest.raises(SystemExit) as stopped:
        tops.main([command, "--help"])
    assert stopped.value.code == 0
    assert command in capsys.readouterr().out


def test_an_unknown_command_is_named_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert tops.main(["serv"]) == 2
    assert "did you mean serve?" in capsys.readouterr().err


def test_without_a_command_the_commands_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert tops.main([]) == 2
    assert tops.main(["--help"]) == 0
    assert "serve" in capsys.readouterr().out
