"""Settings: sources and their order, refusals that name the nearest known name."""

from pathlib import Path

import pytest

from server.config.load_settings import BadSettings, load_settings
from server.config.settings import ApiKeySettings

DIGEST = "0" * 64


@pytest.fixture(autouse=True)
def _clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_flags_over_environment_over_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tops.toml").write_text('port = 1\nmax_loss = 0.5\nmodel = "file"\n')
    monkeypatch.setenv("TOPS_PORT", "2")
    monkeypatch.setenv("TOPS_MODEL", "environment")
    settings = load_settings(["--port", "3"])
    assert (settings.port, settings.model, settings.max_loss) == (3, "environment", 0.5)


def test_efforts_are_a_list_in_every_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = ("low", "high")
    assert load_settings(["--efforts", "high,low"]).efforts == expected
    monkeypatch.setenv("TOPS_EFFORTS", "low, high")
    assert load_settings([]).efforts == expected
    monkeypatch.delenv("TOPS_EFFORTS")
    (tmp_path / "other.toml").write_text('efforts = ["low", "high"]\n')
    assert load_settings(["--config", "other.toml"]).efforts == expected


def test_upstreams_are_a_list_in_every_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = ("http://a:1", "http://b:2/v1")
    flags = ["--upstream", "http://a:1", "--upstream", "http://b:2/v1"]
    assert load_settings(flags).upstream == expected
    assert load_settings(["--upstream", "http://a:1,http://b:2/v1"]).upstream == expected
    monkeypatch.setenv("TOPS_UPSTREAM", "http://a:1, http://b:2/v1")
    assert load_settings([]).upstream == expected
    monkeypatch.delenv("TOPS_UPSTREAM")
    (tmp_path / "other.toml").write_text('upstream = "http://a:1,http://b:2/v1"\n')
    assert load_settings(["--config", "other.toml"]).upstream == expected
    (tmp_path / "other.toml").write_text('upstream = ["http://a:1", "http://b:2/v1"]\n')
    assert load_settings(["--config", "other.toml"]).upstream == expected
    assert load_settings([]).upstream == ()


def test_what_follows_two_dashes_is_the_engine_s() -> None:
    settings = load_settings(["--engine", "vllm", "--port", "3", "--", "--port", "4", "-x"])
    assert (settings.port, settings.engine_flags) == (3, ("--port", "4", "-x"))


UP = ("--upstream", "http://127.0.0.1:1")


@pytest.mark.parametrize(
    ("argv", "environment", "toml", "says"),
    [
        (["--prot", "1"], {}, "", "unknown flag --prot: did you mean --port?"),
        ([], {"TOPS_MAXLOSS": "1"}, "", "did you mean TOPS_MAX_LOSS?"),
        ([], {}, "polcy = 'price'", "unknown setting polcy: did you mean policy?"),
        ([], {}, "[[keys]]\nname='a'\nsha256='x'\nefort_cap='low'", "did you mean effort_cap?"),
        ([], {}, "port = ", "tops.toml"),
        (["--port", "many"], {}, "", "port"),
        (["--policy", "budget"], {}, "", "policy budget needs mean_tokens"),
        (["--mean-tokens", "0"], {}, "", "mean_tokens"),
        (["--config", "absent.toml"], {}, "", "absent.toml"),
        (["--efforts", "low,huge"], {}, "", "efforts"),
        (["--baseline-effort", "max"], {}, "", "none of the model's efforts"),
        (["--host", "0.0.0.0"], {}, "", "--allow-open"),
        (["--upstream", "localhost:1"], {}, "", "upstream"),
        (["--upstream", "http://a:1", "--upstream", "http://a:1"], {}, "", "named twice"),
        (["--dialect", "sglang"], {}, "", "goes with an upstream"),
        ([*UP, "--dialect", "openai"], {}, "", "name one as model"),
        ([*UP, "--dialect", "deepseek", "--model", "m"], {}, "", "cannot say medium"),
        ([*UP, "--dialect", "vlm"], {}, "", "dialect"),
        ([*UP, "--engine", "vllm"], {}, "", "leave it out, or upstream"),
        (["--", "--max-model-len", "9"], {}, "", "for engine vllm"),
        (["--retry-budget-factor", "1"], {}, "", "retry_budget_factor"),
    ],
)
def test_refusals(
    argv: list[str],
    environment: dict[str, str],
    toml: str,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if toml:
        (tmp_path / "tops.toml").write_text(toml + "\n")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BadSettings) as refused:
        load_settings(argv)
    assert says in str(refused.value)


def test_other_addresses_are_open_only_with_a_key_or_by_word(tmp_path: Path) -> None:
    assert load_settings(["--host", "0.0.0.0", "--allow-open"]).host == "0.0.0.0"
    (tmp_path / "tops.toml").write_text(f'[[keys]]\nname = "a"\nsha256 = "{DIGEST}"\n')
    assert load_settings(["--host", "::"]).keys == (ApiKeySettings(name="a", sha256=DIGEST),)


def test_a_key_with_its_floor_above_its_cap_is_refused() -> None:
    with pytest.raises(ValueError, match="above"):
        ApiKeySettings(name="a", sha256=DIGEST, effort_floor="high", effort_cap="low")


def test_the_upstream_key_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOPS_UPSTREAM_API_KEY", "very-secret")
    assert "very-secret" not in repr(load_settings([]))


def test_help_explains_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        load_settings(["--help"])
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    for flag in ("--upstream", "--efforts", "--max-loss", "--drain-seconds"):
        assert flag in shown
