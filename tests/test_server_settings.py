"""Settings: sources and their order, renamed settings, errors that name their source."""

import pickle
import re
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from server.commands import key_command, serve_command
from server.config.api_key_settings import ApiKeySettings
from server.config.load_settings import SettingsError, load_settings
from server.config.options import default_text, flag_of, metavar_of, setting_options
from server.config.renamed import RENAMED
from server.config.settings import Settings

DIGEST = "0" * 64


@pytest.fixture(autouse=True)
def _clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def settings_of(*argv: str) -> Settings:
    """The settings of `tops serve ARGV`."""
    return load_settings(serve_command.make_context("serve", list(argv)).params)


def test_flags_over_environment_over_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tops.toml").write_text('port = 1\nmax_loss = 0.5\nmodel = "file"\n')
    monkeypatch.setenv("TOPS_PORT", "2")
    monkeypatch.setenv("TOPS_MODEL", "environment")
    settings = settings_of("--port", "3")
    assert (settings.port, settings.model, settings.max_loss) == (3, "environment", 0.5)


def test_the_file_is_named_by_flag_over_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for port in (1, 2, 3):
        (tmp_path / f"{port}.toml").write_text(f"port = {port}\n")
    (tmp_path / "tops.toml").write_text("port = 4\n")
    assert settings_of().port == 4
    monkeypatch.setenv("TOPS_CONFIG", "2.toml")
    assert settings_of().port == 2
    assert settings_of("--config", "3.toml").port == 3


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "tops.toml").write_bytes(b"\xef\xbb\xbfport = 5\n")
    assert settings_of().port == 5


def test_efforts_are_a_list_in_every_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = ("low", "high")
    assert settings_of("--efforts", "high,low").efforts == expected
    monkeypatch.setenv("TOPS_EFFORTS", "low, high")
    assert settings_of().efforts == expected
    monkeypatch.delenv("TOPS_EFFORTS")
    (tmp_path / "other.toml").write_text('efforts = ["low", "high"]\n')
    assert settings_of("--config", "other.toml").efforts == expected


def test_upstreams_are_a_list_in_every_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = ("http://a:1", "http://b:2/v1")
    assert settings_of("--upstream", "http://a:1", "--upstream", "http://b:2/v1").upstream == (
        expected
    )
    assert settings_of("--upstream", "http://a:1,http://b:2/v1").upstream == expected
    monkeypatch.setenv("TOPS_UPSTREAM", "http://a:1, http://b:2/v1")
    assert settings_of().upstream == expected
    monkeypatch.delenv("TOPS_UPSTREAM")
    (tmp_path / "other.toml").write_text('upstream = "http://a:1,http://b:2/v1"\n')
    assert settings_of("--config", "other.toml").upstream == expected
    (tmp_path / "other.toml").write_text('upstream = ["http://a:1", "http://b:2/v1"]\n')
    assert settings_of("--config", "other.toml").upstream == expected
    assert settings_of().upstream == ()


def test_a_boolean_is_a_flag_and_its_negation(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings_of("--log-prompts").log_prompts
    monkeypatch.setenv("TOPS_LOG_PROMPTS", "true")
    assert settings_of().log_prompts
    assert not settings_of("--no-log-prompts").log_prompts


def test_what_follows_two_dashes_is_the_engine_s() -> None:
    settings = settings_of("--engine", "vllm", "--port", "3", "--", "--port", "4", "-x")
    assert (settings.port, settings.engine_flags) == (3, ("--port", "4", "-x"))


def test_settings_can_be_sent_to_workers(tmp_path: Path) -> None:
    (tmp_path / "tops.toml").write_text("port = 5\n")
    assert pickle.loads(pickle.dumps(settings_of())).port == 5


UP = ("--upstream", "http://127.0.0.1:1")
KEYS = f"[[keys]]\nname = 'a'\nsha256 = '{DIGEST}'\n[[keys]]\nname = 'b'\nsha256 = '{DIGEST}'"


@pytest.mark.parametrize(
    ("argv", "environment", "toml", "message"),
    [
        ([], {"TOPS_MAXLOSS": "1"}, "", "TOPS_MAXLOSS: did you mean TOPS_MAX_LOSS?"),
        ([], {}, "polcy = 'price'", "unknown setting of tops.toml polcy: did you mean policy?"),
        ([], {}, "[[keys]]\nname='a'\nsha256='x'\nefort_cap='low'", "did you mean effort_cap?"),
        ([], {}, "port = ", "tops.toml: Invalid value (at line 1"),
        (["--port", "many"], {}, "", "--port: "),
        ([], {"TOPS_PORT": "many"}, "", "TOPS_PORT: "),
        ([], {}, "port = 'many'", "tops.toml: port: "),
        ([], {"TOPS_PORT": "1"}, "port = 'many'\nprice = -1", "tops.toml: price: "),
        (["--policy", "budget"], {}, "", "policy budget needs tokens_per_request"),
        (["--tokens-per-request", "0"], {}, "", "--tokens-per-request"),
        (["--price", "inf"], {}, "", "--price: Input should be a finite number"),
        ([], {}, "shutdown_timeout = inf", "shutdown_timeout: Input should be a finite number"),
        (["--max-loss", "nan"], {}, "", "--max-loss: Input should be a finite number"),
        (["--config", "absent.toml"], {}, "", "absent.toml"),
        (["--efforts", "low,huge"], {}, "", "--efforts: 'huge': Input should be 'none'"),
        (["--baseline-effort", "max"], {}, "", "none of the model's efforts"),
        (["--host", "0.0.0.0"], {}, "", "host 0.0.0.0 without API keys"),
        ([], {}, "host = '::'", "host :: without API keys"),
        (["--host", "localhost:80"], {}, "", "host localhost:80 is not a host: give a name or"),
        (["--host", "[::1]"], {}, "", "host [::1] is not a host"),
        ([], {}, f"host = 'a:80'\n{KEYS}", "host a:80 is not a host"),
        ([], {}, "keys = 3", "tops.toml: keys: Input should be a list"),
        ([], {}, "router = true", "tops.toml: router: Input should be a path"),
        ([], {}, "log_prompts = 3", "tops.toml: log_prompts: Input should be true or false"),
        ([], {}, "effort_budgets = {low = true}", "not true"),
        (["--upstream", "localhost:1"], {}, "", "--upstream"),
        (["--upstream", "http://a:1", "--upstream", "http://a:1"], {}, "", "listed twice"),
        (["--upstream", "http://a:1/v1", "--upstream", "http://A:1/"], {}, "", "listed twice"),
        (["--upstream", "http://a:1/v1/chat/completions"], {}, "", "up to /v1"),
        (["--upstream", "http://me:key@a:1"], {}, "", "upstream_api_key"),
        (["--dialect", "sglang"], {}, "", "needs an upstream"),
        ([*UP, "--dialect", "openai"], {}, "", "set model to the name"),
        ([*UP, "--dialect", "deepseek", "--model", "m"], {}, "", "does not support medium"),
        (
            [*UP, "--dialect", "openai", "--model", "m", "--max-budget", "9"],
            {},
            "",
            "has no thinking budget",
        ),
        ([*UP, "--engine", "vllm"], {}, "", "exclude each other"),
        (["--", "--max-model-len", "9"], {}, "", "--engine vllm"),
        (["--retry-budget-factor", "1"], {}, "", "--retry-budget-factor"),
        (["--cors-origins", "*"], {}, "", "cors_origins * without API keys"),
        (["--cors-origins", "https://c,null"], {}, "", "cors_origins null without API keys"),
        (["--allowed-hosts", "a.example,*"], {}, "", "allowed_hosts * without API keys"),
        (["--cors-origins", "chat.example.com"], {}, "", "is not an origin"),
        (["--cors-origins", "https://a.example/path"], {}, "", "is not an origin"),
        (["--cors-origins", "https://*.a.example"], {}, "", "is not an origin"),
        (["--allowed-hosts", "https://a.example"], {}, "", "is not a host"),
        (["--allowed-hosts", "a.example:80"], {}, "", "is not a host"),
        (["--allowed-hosts", "a.example."], {}, "", "is not a host"),
        (["--allowed-hosts", "*.*.example"], {}, "", "is not a host"),
        ([], {}, KEYS, "the same sha256"),
        ([], {}, 'config = "other.toml"', "config names no other file"),
        ([], {}, "price = true", "price: Input should be a number, not true or false"),
        ([], {}, "workers = true", "workers: Input should be a number, not true or false"),
        ([], {"TOPS_OVERLOAD_TTFT": "-inf"}, "", "TOPS_OVERLOAD_TTFT: Input should be a finite"),
        (["--upstream-timeout", "1e-9"], {}, "", "--upstream-timeout: Input should be greater"),
        (["--upstream", "http://h:99999"], {}, "", "--upstream: 'http://h:99999' is not a URL"),
        (["--upstream", "http://h:x/v1"], {}, "", "--upstream: 'http://h:x/v1' is not a URL"),
        (["--upstream", "http://a b/v1"], {}, "", "'http://a b/v1' is not a URL"),
        (["--upstream", "http://h/v1?a=b"], {}, "", "give the base URL"),
        (["--upstream", "http://localhost:8000"], {}, "", "is this gateway"),
        (["--upstream", "http://127.0.0.1:9/v1", "--port", "9"], {}, "", "is this gateway"),
        (["--model", "Qwen/Qwen3-8B"], {}, "", "model Qwen/Qwen3-8B needs an engine: give a .gguf"),
        (["--model", "m.safetensors"], {}, "", "or pass --engine vllm"),
        (["--model", ""], {}, "", "--model: String should have at least 1 character"),
        ([], {"TOPS_UPSTREAM_API_KEY": "two words"}, "", "TOPS_UPSTREAM_API_KEY: a key has only"),
        ([], {}, KEYS.replace("'b'", "'a'"), "the same name"),
    ],
)
def test_unusable_settings_are_refused(
    argv: list[str],
    environment: dict[str, str],
    toml: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if toml:
        (tmp_path / "tops.toml").write_text(toml + "\n")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        settings_of(*argv)
    assert message in str(refused.value)


def test_a_key_in_the_place_of_its_table_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "tops.toml").write_text('keys = ["sk-tops-secret"]\n')
    with pytest.raises(SettingsError) as refused:
        settings_of()
    assert str(refused.value) == "tops.toml: keys: Input should be a table"


def test_names_of_hosts_and_pages_are_in_lower_case() -> None:
    settings = settings_of(
        "--allowed-hosts",
        "A.example, *.B.example",
        "--cors-origins",
        "HTTP://C/,https://d:443,http://d:443",
    )
    assert settings.allowed_hosts == ("a.example", "*.b.example")
    assert settings.cors_origins == ("http://c", "https://d", "http://d:443")


def test_any_name_and_page_is_accepted_where_anyone_may_use_the_gateway() -> None:
    settings = settings_of("--allowed-hosts", "*", "--cors-origins", "*", "--allow-unauthenticated")
    assert settings.allowed_hosts == settings.cors_origins == ("*",)


@pytest.mark.parametrize("text", ["1e300", "1" + 30 * "0"])
def test_every_number_has_bounds(text: str) -> None:
    numbers = [
        name
        for name, field in Settings.model_fields.items()
        if re.search(r"\b(int|float)\b", str(field.annotation))
    ]
    assert len(numbers) >= 19
    for name in numbers:
        with pytest.raises(SettingsError, match=flag_of(name)):
            load_settings({name: text})
    for name in ("max_budget", "max_in_flight"):
        with pytest.raises(ValueError, match=name):
            ApiKeySettings.model_validate({"name": "a", "sha256": DIGEST, name: text})


def test_the_line_break_of_a_secret_s_file_is_no_part_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TOPS_UPSTREAM_API_KEY", "sk-1\n")
    key = settings_of().upstream_api_key
    assert key is not None
    assert key.get_secret_value() == "sk-1"


def test_nothing_is_suggested_for_an_unfamiliar_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOPS_XYZZY", "1")
    with pytest.raises(SettingsError) as refused:
        settings_of()
    assert str(refused.value) == "unknown environment variable TOPS_XYZZY"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--price", "inf"], "--price"),
        (["--policy", "cheapest"], "quality"),
        (["--dialect", "vlm"], "--dialect"),
        (["--model", "nofile.gguf"], "there is no file nofile.gguf"),
        (["upstream"], "unexpected extra argument"),
    ],
)
def test_usage_errors_end_with_status_2(argv: list[str], message: str) -> None:
    result = CliRunner().invoke(serve_command, argv)
    assert result.exit_code == 2
    assert message in result.stderr


def test_other_addresses_need_a_key_or_an_explicit_setting(tmp_path: Path) -> None:
    assert settings_of("--host", "0.0.0.0", "--allow-unauthenticated").host == "0.0.0.0"
    (tmp_path / "tops.toml").write_text(f'[[keys]]\nname = "a"\nsha256 = "{DIGEST}"\n')
    assert settings_of("--host", "::").keys == (ApiKeySettings(name="a", sha256=DIGEST),)


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_an_old_name_is_accepted_in_every_source_with_a_warning(
    old: str,
    new: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    is_flag = new == "allow_unauthenticated"
    text, value = ("true", True) if is_flag else ("0.25", 0.25)
    if new == "overload_requests":
        text, value = "2", 2

    def warned(settings: Settings, message: str) -> None:
        assert getattr(settings, new) == value
        assert capsys.readouterr().err == f"warning: {message}\n"

    flag = [flag_of(old)] if is_flag else [flag_of(old), text]
    warned(settings_of(*flag), f"{flag_of(old)} is deprecated: use {flag_of(new)}")
    (tmp_path / "tops.toml").write_text(f"{old} = {text}\n")
    warned(settings_of(), f"tops.toml: {old} is deprecated: use {new}")
    (tmp_path / "tops.toml").unlink()
    monkeypatch.setenv(f"TOPS_{old.upper()}", text)
    warned(settings_of(), f"TOPS_{old.upper()} is deprecated: use TOPS_{new.upper()}")


def test_an_old_and_a_new_name_together_are_refused(tmp_path: Path) -> None:
    (tmp_path / "tops.toml").write_text("drain_seconds = 1\nshutdown_timeout = 2\n")
    with pytest.raises(SettingsError, match="drain_seconds is the old name of shutdown_timeout"):
        settings_of()
    (tmp_path / "tops.toml").unlink()
    with pytest.raises(SettingsError, match="set only --shutdown-timeout"):
        settings_of("--drain-seconds", "1", "--shutdown-timeout", "2")


def test_an_old_flag_takes_precedence_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "tops.toml").write_text("shutdown_timeout = 2\n")
    assert settings_of("--drain-seconds", "1").shutdown_timeout == 1


def test_a_key_with_its_floor_above_its_cap_is_refused() -> None:
    with pytest.raises(ValueError, match="above"):
        ApiKeySettings(name="a", sha256=DIGEST, effort_floor="high", effort_cap="low")


def test_the_upstream_key_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOPS_UPSTREAM_API_KEY", "very-secret")
    assert "very-secret" not in repr(settings_of())


def test_every_setting_is_an_option_with_its_default_and_its_unit() -> None:
    fields = Settings.model_fields
    shown = {option.name for option in setting_options() if not option.hidden}
    assert shown == set(fields) - {"keys", "kinds", "prices", "engine_flags"}
    text = " ".join(CliRunner().invoke(serve_command, ["--help"]).output.split())
    assert "[default: quality]" in text
    assert "--shutdown-timeout SECONDS" in text
    assert "--drain-seconds" not in text
    assert metavar_of(fields["policy"]) == "quality|price|budget|fixed"
    assert default_text(fields["efforts"]) == "none,low,medium,high"


def test_a_new_key_is_accepted_by_the_settings(tmp_path: Path) -> None:
    printed = CliRunner().invoke(key_command, ["team-a"]).output
    key, _, toml = printed.partition("tops.toml:")
    assert key.startswith("sk-tops-")
    assert tomllib.loads(toml)["keys"][0]["name"] == "team-a"
    (tmp_path / "tops.toml").write_text(toml)
    assert settings_of().keys[0].name == "team-a"


@pytest.mark.parametrize("name", ['a"b', "a b", "", "x" * 65])
def test_a_name_that_the_settings_refuse_gets_no_key(name: str) -> None:
    result = CliRunner().invoke(key_command, [name])
    assert result.exit_code == 2
    assert "is not a key name" in result.stderr
    assert "sk-tops-" not in result.output
