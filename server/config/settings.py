"""The one typed settings object; `server.config.load_settings` reads it."""

import ipaddress
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    CliSuppress,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from router.effort import EFFORTS, Effort
from server.engines.dialect import DIALECTS, Name

PREFIX = "TOPS_"
_DEMO = Path(__file__).resolve().parents[2] / "models" / "demo"


def _split(words: object) -> object:
    """Lists are given as comma-separated words, and flags that repeat as several of those."""
    if isinstance(words, str):
        return [word for word in words.replace(" ", "").split(",") if word]
    if isinstance(words, list | tuple):
        found = cast("Sequence[object]", words)
        return [part for word in found for part in cast("list[object]", _split(word))]
    return [words]


def _urls(urls: tuple[str, ...]) -> tuple[str, ...]:
    for url in urls:
        if not re.match(r"https?://[^/]", url):
            raise ValueError(f"'{url}' is no URL: it begins with http:// or https://")
    if len(set(urls)) < len(urls):
        raise ValueError("an engine is named twice")
    return urls


def _ladder(efforts: tuple[Effort, ...]) -> tuple[Effort, ...]:
    if not efforts:
        raise ValueError("name at least one effort")
    return tuple(sorted(set(efforts), key=EFFORTS.index))


class ApiKeySettings(BaseModel):
    """One API key, made by `tops key NAME`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    effort_floor: Effort | None = None
    effort_cap: Effort | None = None
    max_budget: int | None = Field(None, ge=0)
    max_in_flight: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _floor_below_cap(self) -> "ApiKeySettings":
        floor, cap = self.effort_floor, self.effort_cap
        if floor and cap and EFFORTS.index(floor) > EFFORTS.index(cap):
            raise ValueError(f"key '{self.name}': effort_floor is above effort_cap")
        return self


class Settings(BaseSettings):
    """Everything `tops serve` can be told; each name is a flag, a TOPS_ variable and a TOML key."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        extra="forbid",
        frozen=True,
        cli_prog_name="tops serve",
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_exit_on_error=False,
        cli_hide_none_type=True,
        nested_model_default_partial_update=False,
    )

    config: Path | None = Field(
        None, description="settings file; default: tops.toml in this folder, where there is one"
    )
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    allow_open: bool = Field(
        False, description="allow an address other than loopback without any API key"
    )
    workers: int = Field(
        1, ge=1, description="processes that serve; more than one where one core is not enough"
    )
    upstream: Annotated[
        tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_urls)
    ] = Field(
        (),
        description="base URL of a running engine, e.g. http://127.0.0.1:8001/v1; given several "
        "times, engines of the same model; default: start an engine",
    )
    dialect: Name = Field(
        "vllm",
        description="how the upstream wants to be told effort and budget: " + ", ".join(DIALECTS),
    )
    engine: Literal["embedded", "vllm"] = Field(
        "embedded",
        description="what to start where there is no upstream; vllm takes what follows -- as its "
        "own flags",
    )
    engine_python: Path = Field(
        Path(sys.executable),
        description="the Python that has vllm installed, in an environment of its own",
    )
    engine_flags: CliSuppress[tuple[str, ...]] = Field(
        (), description="flags for vllm; on the command line, what follows --"
    )
    reasoning_parser: str = Field(
        "qwen3", description="vllm's reasoning parser for the model, without which no budget binds"
    )
    upstream_api_key: SecretStr | None = Field(
        None, description="key sent to the upstream; better given as TOPS_UPSTREAM_API_KEY"
    )
    checkpoint: Path = Field(_DEMO, description="checkpoint folder of the embedded engine")
    engine_workers: int = Field(
        2, ge=1, description="generations that the embedded engine runs at the same moment"
    )
    model: str | None = Field(
        None,
        description="model name, for engine vllm also a folder; default: the checkpoint's folder, "
        "or the upstream's only model",
    )
    efforts: Annotated[
        tuple[Effort, ...], NoDecode, BeforeValidator(_split), AfterValidator(_ladder)
    ] = Field(
        ("none", "low", "medium", "high"),
        description="the efforts that the model has; others map to the nearest",
    )
    baseline_effort: Effort = Field(
        "high", description="effort without a router: what savings are counted against"
    )
    router: Path | None = Field(
        None,
        description="fitted router (router.json), or the word portable for the shipped one that "
        "stands for no model in particular; default: the one in the checkpoint folder, when the "
        "embedded engine runs",
    )
    policy: Literal["quality", "price", "budget", "fixed"] = Field(
        "quality",
        description="quality: fewest tokens that cost at most max_loss; price: most P(correct) "
        "less price x tokens; budget: mean_tokens a request; fixed: always the baseline effort",
    )
    max_loss: float = Field(
        0.01, ge=0, le=1, description="accuracy that the quality policy may cost, as a share"
    )
    price: float = Field(
        0.1, ge=0, description="P(correct) that 1,000 thinking tokens must buy (policy price)"
    )
    mean_tokens: float | None = Field(
        None, gt=0, description="thinking tokens that requests may take on average (policy budget)"
    )
    load_in_flight: int | None = Field(
        None,
        ge=1,
        description="requests in flight from which thinking gets dearer, fully so at twice as "
        "many; suspends max_loss meanwhile. Default: load changes nothing",
    )
    load_wait_seconds: float | None = Field(
        None, gt=0, description="the same, by the time to the first token of recent streams"
    )
    load_price: float = Field(
        0.5, ge=0, description="what full load adds to the P(correct) that 1,000 tokens must buy"
    )
    answer_reserve: int = Field(
        256, ge=1, description="tokens of max_tokens kept for the answer, at most half of it"
    )
    max_budget: int | None = Field(
        None, ge=0, description="most thinking tokens that any request may spend"
    )
    retry_budget_factor: float | None = Field(
        None,
        gt=1,
        le=16,
        description="where a budget of the gateway's left no answer, or one that breaks its JSON "
        "schema, try once more with so many times the budget; streams are not tried again",
    )
    holdout_share: float = Field(
        0.02,
        ge=0,
        le=0.5,
        description="share of conversations that get the baseline effort, so that savings can be "
        "measured; explicit choices never do",
    )
    explore_share: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="share of conversations that get an effort at random, so that any other policy "
        "can be evaluated from the ledger",
    )
    ledger: str = Field(
        "sqlite:///tops-ledger.db",
        description="database URL of the ledger, one row a request without any text: "
        "sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME; empty: none is kept",
    )
    ledger_days: float | None = Field(90, gt=0, description="days that the ledger keeps a row")
    hash_key: SecretStr | None = Field(
        None,
        min_length=16,
        description="key of the conversations' hashes, better given as TOPS_HASH_KEY; default: one "
        "that the ledger keeps. Another key draws the holdout anew",
    )
    completion_price: float | None = Field(
        None, ge=0, description="what a million completion tokens cost, to tell savings in money"
    )
    max_body_bytes: int = Field(32 * 2**20, ge=1024, description="largest request body, in bytes")
    body_seconds: float = Field(30, gt=0, description="time a request body may take to arrive")
    silence_seconds: float = Field(
        600, gt=0, description="time the engine may be silent before the gateway gives up"
    )
    unread_seconds: float = Field(
        60,
        gt=0,
        description="time after which a client that takes nothing of its answer is taken to be "
        "gone",
    )
    drain_seconds: float = Field(
        30, ge=0, description="time that requests in flight get to end after SIGTERM"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="least severe log lines to print"
    )
    log_prompts: bool = Field(
        False, description="write prompts into the log; private text, so off by default"
    )
    keys: CliSuppress[tuple[ApiKeySettings, ...]] = Field(
        (), description="API keys, as [[keys]] tables in tops.toml"
    )

    @property
    def folder(self) -> Path | None:
        """The folder of the weights that are served, where it is known here."""
        if self.upstream:
            return None
        if self.engine == "vllm" and self.model is not None:
            return Path(self.model) if Path(self.model).is_dir() else None
        return self.checkpoint

    @model_validator(mode="after")
    def _coherent(self) -> "Settings":
        if self.baseline_effort not in self.efforts:
            raise ValueError(
                f"baseline_effort '{self.baseline_effort}' is none of the model's efforts: "
                + ", ".join(self.efforts)
            )
        if self.engine_flags and self.engine != "vllm":
            raise ValueError("flags after -- are for engine vllm")
        if self.upstream and self.engine != "embedded":
            raise ValueError("engine vllm is started here: leave it out, or upstream")
        self._speakable()
        if self.policy == "budget" and self.mean_tokens is None:
            raise ValueError("policy budget needs mean_tokens, the target of a request's mean")
        if not (self.keys or self.allow_open or is_loopback(self.host)):
            raise ValueError(
                f"listening on {self.host} without API keys would let anyone use this server; "
                "make one with 'tops key NAME', or pass --allow-open"
            )
        if len({key.name for key in self.keys}) < len(self.keys):
            raise ValueError("two keys have the same name")
        return self

    def _speakable(self) -> None:
        dialect = DIALECTS[self.dialect]
        if self.dialect != "vllm" and not self.upstream:
            raise ValueError(f"dialect {self.dialect} goes with an upstream: name its URL")
        if dialect.hosted and self.model is None:
            raise ValueError(f"{self.dialect} serves many models: name one as model")
        unspelt = [effort for effort in self.efforts if effort not in dialect.efforts]
        if unspelt:
            raise ValueError(
                f"the dialect {self.dialect} cannot say {', '.join(unspelt)}: set efforts to those "
                f"that the model has, of {', '.join(dialect.efforts)}"
            )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the base class names it
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags come first by themselves; then the environment, then the file."""
        toml_file = settings_cls.model_config.get("toml_file")
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
