"""The typed settings of `tops serve`; `server.config.load_settings` reads them from their sources.

Every field is a flag, a TOPS_ environment variable and a key of tops.toml under the same name.
"""

import ipaddress
import re
import sys
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from router.effort import Effort, rank
from server.config.api_key_settings import ApiKeySettings
from server.config.effort_budgets import EffortBudgets
from server.config.kind_settings import KindSettings
from server.config.price_settings import PriceSettings
from server.config.session_settings import OverSession, SessionBudget
from server.config.value_types import (
    Aliases,
    ApiKey,
    Efforts,
    Hosts,
    Integer,
    LimitsStore,
    Number,
    Origins,
    Seconds,
    URLs,
    setting,
)
from server.engines.dialect import DIALECTS, Name

PREFIX = "TOPS_"
GGUF_SUFFIX = ".gguf"
_WEIGHTS = frozenset((".safetensors", ".bin", ".pt", ".pth", ".onnx", ".ggml"))
DEMO = Path(__file__).resolve().parents[2] / "models" / "demo"


class Settings(BaseSettings):
    """All settings of `tops serve`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=False,
    )

    config: Path | None = setting(
        None,
        "Settings file; default: tops.toml in the current folder, if there is one.",
        "FILE",
    )
    host: str = setting("127.0.0.1", "Address to listen on.", "ADDRESS")
    port: Integer = setting(8000, "Port to listen on; 0 picks a free one.", "PORT", ge=0, le=65535)
    allow_unauthenticated: bool = setting(
        False, "Listen on an address other than loopback without any API key."
    )
    allowed_hosts: Hosts = setting(
        (),
        "Domain names, or *.DOMAIN for those below one, under which a gateway without API keys "
        "answers; on loopback it answers only to them, to addresses and to names without a dot.",
        "NAME,NAME...",
    )
    cors_origins: Origins = setting(
        (),
        "Origins, such as https://chat.example.com, whose web pages may use the gateway (CORS); "
        "* for all.",
        "ORIGIN,ORIGIN...",
    )
    workers: Integer = setting(
        1,
        "Number of gateway processes; raise it when one CPU core is not enough.",
        "N",
        ge=1,
        le=256,
    )
    upstream: URLs = setting(
        (),
        "Base URL of a running engine, such as http://127.0.0.1:8001/v1; repeat it for several "
        "engines that serve the same model; default: the gateway starts an engine itself.",
        "URL",
    )
    dialect: Name = setting(
        "vllm",
        "Request format in which the upstream takes effort and budget.",
        "DIALECT",
    )
    engine: Literal["embedded", "llama.cpp", "vllm"] = setting(
        "embedded",
        "Engine to start when no upstream is set; llama.cpp where model is a .gguf file; for vllm, "
        "flags after -- are passed to it.",
        "ENGINE",
    )
    engine_python: Path = setting(
        Path(sys.executable),
        "Python interpreter of the environment in which vllm is installed.",
        "FILE",
    )
    engine_flags: tuple[str, ...] = setting(
        (), "Flags passed to vllm; on the command line, everything after --.", "FLAG"
    )
    reasoning_parser: str = setting(
        "qwen3",
        "Reasoning parser of vllm for the model; vllm enforces budgets only with one.",
        "NAME",
        min_length=1,
    )
    upstream_api_key: ApiKey | None = setting(
        None, "API key sent to the upstream; prefer the variable TOPS_UPSTREAM_API_KEY.", "KEY"
    )
    checkpoint: Path = setting(DEMO, "Checkpoint folder of the embedded engine.", "FOLDER")
    engine_workers: Integer | None = setting(
        None,
        "Concurrent generations of the embedded engine (default: 2) or of llama.cpp (default: 4, "
        "and 8 for models of a few million parameters).",
        "N",
        ge=1,
        le=256,
    )
    engine_threads: Integer | None = setting(
        None,
        "Threads with which llama.cpp computes; default: a thread per core but one.",
        "N",
        ge=1,
        le=1024,
    )
    engine_context: Integer | None = setting(
        None,
        "Context of each concurrent generation of llama.cpp; default: the model's own, at most "
        "32,768 and what fits into the memory.",
        "TOKENS",
        ge=16,
        le=10_000_000,
    )
    chat_template: Path | None = setting(
        None, "Chat template for llama.cpp; default: that of the GGUF file.", "FILE"
    )
    model: str | None = setting(
        None,
        "Model name; a .gguf file to start llama.cpp with; for engine vllm also a folder; default: "
        "the name of the checkpoint folder, or the upstream's only model.",
        "NAME|FILE.gguf",
        min_length=1,
    )
    aliases: Aliases = setting(
        (),
        "Further names under which clients may ask for the model; each can be a kind of traffic.",
        "NAME,NAME...",
    )
    efforts: Efforts = setting(
        ("none", "low", "medium", "high"),
        "Efforts that the model supports; a request for any other gets the nearest; default where "
        "the model's chat template can be read: those that it takes.",
        "EFFORT,EFFORT...",
    )
    effort_budgets: EffortBudgets = setting(
        {},
        "The most thinking tokens that an effort may spend; such an effort is offered whether or "
        "not the model's chat template knows it, so that a model which only thinks or does not has "
        "efforts too; default: the template alone makes efforts differ.",
        "EFFORT=TOKENS,...",
    )
    effort_canary: bool = setting(
        True,
        "Measure, when an engine comes up, whether its efforts change how long it thinks: 8 "
        "questions at each of 4 efforts, behind the clients' requests; efforts that do the same as "
        "another, or the reverse of their name, are not offered to the router.",
    )
    baseline_effort: Effort = setting(
        "high",
        "Effort used without a router, and against which savings are measured; default with a "
        "fitted router: the baseline of its fit; with a chat template that was read: its default.",
        "EFFORT",
    )
    router: Path | None = setting(
        None,
        "Fitted router (router.json), or the word portable for the shipped router that is fitted "
        "on many models; default: the router in the checkpoint folder of the embedded engine.",
        "FILE",
    )
    policy: Literal["quality", "price", "budget", "fixed"] = setting(
        "quality",
        "How the router chooses: quality: fewest tokens with an accuracy loss of at most max_loss; "
        "price: highest P(correct) minus price x tokens; budget: tokens_per_request on average; "
        "fixed: always baseline_effort.",
        "POLICY",
    )
    max_loss: Number = setting(
        0.01,
        "Largest accuracy loss against baseline_effort under policy quality, as a share "
        "(0.01 is one point).",
        "SHARE",
        ge=0,
        le=1,
    )
    price: Number = setting(
        0.1,
        "Policy price: gain in P(correct) that justifies 1,000 more thinking tokens.",
        "NUMBER",
        ge=0,
    )
    tokens_per_request: Number | None = setting(
        None, "Policy budget: target for the mean of thinking tokens per request.", "TOKENS", gt=0
    )
    overload_requests: Integer | None = setting(
        None,
        "Number of requests in flight at which the gateway starts to lower efforts; it lowers them "
        "fully at twice as many, and max_loss does not hold meanwhile; default: never.",
        "N",
        ge=1,
    )
    overload_ttft: Seconds | None = setting(
        None,
        "Like overload_requests, by the time to first token (TTFT) of recent streams, in seconds; "
        "default: never.",
        "SECONDS",
        gt=0,
    )
    overload_price: Number = setting(
        0.5,
        "Gain in P(correct) that 1,000 thinking tokens must bring in addition at full overload.",
        "NUMBER",
        ge=0,
    )
    answer_reserve: Integer = setting(
        256,
        "Tokens of max_tokens reserved for the answer, at most half of max_tokens.",
        "TOKENS",
        ge=1,
    )
    max_budget: Integer | None = setting(
        None, "Largest thinking budget per request, in tokens; default: no limit.", "TOKENS", ge=0
    )
    reasoning_content: bool = setting(
        True,
        "Write the reasoning of Chat Completions under reasoning_content too, where the engine "
        "sends it under reasoning only: clients such as LangChain.js read only that name.",
    )
    retry_budget_factor: Number | None = setting(
        None,
        "Retry once with the budget times this factor when a budget that the gateway chose left no "
        "answer or one that breaks its JSON schema; streams are not retried; default: no retry.",
        "FACTOR",
        gt=1,
        le=16,
    )
    composites: bool = setting(
        True,
        "Run the composite effort of the fitted router, where it has one: a second attempt at "
        "another effort where the first one hits its budget; no effect on explicit efforts.",
    )
    efforts_are_budgets: bool = setting(
        False,
        "The model thinks in one way at all efforts but none, so that they differ in budgets only: "
        "a composite effort then is one attempt whose thinking goes on, not two.",
    )
    holdout_share: Number = setting(
        0.02,
        "Share of conversations that get baseline_effort, so that savings can be measured; "
        "requests with an explicit effort or budget are never held out.",
        "SHARE",
        ge=0,
        le=0.5,
    )
    exploration_share: Number = setting(
        0.0,
        "Share of conversations that get a random effort, so that other policies can be evaluated "
        "from the ledger.",
        "SHARE",
        ge=0,
        le=0.5,
    )
    ledger: str = setting(
        "sqlite:///tops-ledger.db",
        "Database URL of the ledger, which has one row per request and no text: sqlite:///FILE or "
        "postgresql+psycopg://USER@HOST/NAME; empty: no ledger.",
        "URL",
    )
    ledger_retention_days: Number | None = setting(
        90, "Days after which the ledger deletes a row.", "DAYS", gt=0, le=36_500
    )
    hash_key: SecretStr | None = setting(
        None,
        "Secret key of the conversation hashes, 16 characters or more; prefer the variable "
        "TOPS_HASH_KEY; default: a key stored in the ledger; a new key draws a new holdout.",
        "KEY",
        min_length=16,
    )
    limits_store: LimitsStore | None = setting(
        None,
        "Valkey or Redis in which gateways share how far each key's limits per minute and day are "
        "used, such as redis://HOST:6379/0; default: each gateway counts by itself.",
        "URL",
    )
    limits_store_down: Literal["allow", "refuse"] = setting(
        "allow",
        "Without an answer of limits_store: allow requests within the limits as each gateway "
        "counts them itself, or refuse those of keys with such limits with 503.",
        "POLICY",
    )
    session_turns: Integer | None = setting(
        None,
        "Requests per conversation of keys that set no other limit; over_session says what "
        "happens above it.",
        "N",
        ge=1,
        lt=2**31,
    )
    session_thinking_tokens: Integer | None = setting(
        None,
        "Thinking tokens per conversation of keys that set no other limit; over_session says what "
        "happens above it.",
        "TOKENS",
        ge=1,
        lt=2**31,
    )
    over_session: OverSession = setting(
        "refuse",
        "Above the budget of a conversation: refuse requests with 429, or lower them to the lowest "
        "effort that model and key allow.",
        "POLICY",
    )
    completion_price: Number | None = setting(
        None,
        "Price of a million completion tokens of models without [[prices]], to report money.",
        "PRICE",
        ge=0,
    )
    max_connections: Integer | None = setting(
        None,
        "Largest number of client connections of a process; above it the one that is idle longest "
        "is closed, and 503 if none is; default, and bound: what file descriptors allow.",
        "N",
        ge=1,
    )
    header_timeout: Seconds = setting(
        30,
        "Seconds in which line and headers of a request must arrive, since the connection was "
        "accepted or since their first byte; 408 after them.",
        "SECONDS",
        ge=0.01,
    )
    idle_timeout: Seconds = setting(
        75,
        "Seconds without a request after which a connection is closed; longer than the 60 of "
        "common load balancers, which would send a request into a connection that is being closed.",
        "SECONDS",
        ge=0.01,
    )
    lingering_timeout: Seconds = setting(
        5,
        "Seconds in which a client can read the answer to a request whose body was not read, "
        "before its connection is closed.",
        "SECONDS",
        ge=0.01,
    )
    max_body_bytes: Integer = setting(
        32 * 2**20, "Largest request body in bytes; 413 above it.", "BYTES", ge=1024
    )
    max_body_values: Integer = setting(
        1_000_000,
        "Largest number of JSON values in a request body, at most a twentieth of them arrays and "
        "objects; 413 above it.",
        "N",
        ge=1000,
    )
    body_timeout: Seconds = setting(
        30, "Seconds in which a request body must arrive; 408 after them.", "SECONDS", ge=0.01
    )
    upstream_timeout: Seconds = setting(
        600,
        "Seconds without a byte from the engine after which a request fails.",
        "SECONDS",
        ge=0.01,
    )
    client_write_timeout: Seconds = setting(
        60,
        "Seconds after which a client that does not read its response is disconnected.",
        "SECONDS",
        ge=0.01,
    )
    shutdown_timeout: Seconds = setting(
        30, "Seconds that requests in flight have to finish after SIGTERM.", "SECONDS", ge=0
    )
    log_level: Literal["debug", "info", "warning", "error"] = setting(
        "info", "Lowest severity of the log lines to print.", "LEVEL"
    )
    tracing: bool = setting(
        False,
        "Export a trace of each request by OpenTelemetry, to http://localhost:4318 unless its own "
        "variables (OTEL_...) say otherwise.",
    )
    log_prompts: bool = setting(
        False, "Write prompts to the log; off by default, as prompts are private."
    )
    keys: tuple[ApiKeySettings, ...] = setting(
        (), "API keys, as [[keys]] tables in tops.toml.", "TABLE"
    )
    prices: tuple[PriceSettings, ...] = setting(
        (), "Prices of models' tokens, as [[prices]] tables in tops.toml.", "TABLE"
    )
    kinds: tuple[KindSettings, ...] = setting(
        (), "Kinds of traffic, as [[kinds]] tables in tops.toml.", "TABLE"
    )

    @property
    def session(self) -> SessionBudget:
        """The budget of sessions of keys that set none."""
        return SessionBudget(self.session_turns, self.session_thinking_tokens, self.over_session)

    @property
    def offered_efforts(self) -> tuple[Effort, ...]:
        """The model's efforts and those that a budget makes, cheapest first."""
        return tuple(sorted({*self.efforts, *self.effort_budgets}, key=rank))

    @property
    def measured_efforts(self) -> tuple[Effort, ...]:
        """The efforts that the effort canary compares: those of a budget differ by that."""
        if not self.effort_canary or self.efforts_are_budgets:
            return ()
        return tuple(effort for effort in self.efforts if effort not in self.effort_budgets)

    @property
    def folder(self) -> Path | None:
        """The folder of the served weights; None if they are not on this machine."""
        if self.upstream:
            return None
        if self.engine == "vllm" and self.model is not None:
            return Path(self.model) if Path(self.model).is_dir() else None
        return None if self.engine == "llama.cpp" else self.checkpoint

    @model_validator(mode="before")
    @classmethod
    def _start_llama_cpp(cls, fields: dict[str, Any]) -> dict[str, Any]:
        """A GGUF file is served by llama.cpp, whose dialect it speaks."""
        is_file = is_gguf(fields.get("model"))
        if is_file and not fields.get("upstream") and "engine" not in fields:
            fields = {**fields, "engine": "llama.cpp"}
        if fields.get("engine") == "llama.cpp" and "dialect" not in fields:
            fields = {**fields, "dialect": "llama.cpp"}
        return fields

    @model_validator(mode="after")
    def _check(self) -> "Settings":
        if self.baseline_effort not in self.offered_efforts:
            raise ValueError(
                f"baseline_effort '{self.baseline_effort}' is none of the model's efforts: "
                + ", ".join(self.offered_efforts)
            )
        if self.engine_flags and self.engine != "vllm":
            raise ValueError("flags after -- need --engine vllm")
        if self.upstream and self.engine != "embedded":
            raise ValueError(
                f"engine {self.engine} and upstream exclude each other: set only one of them"
            )
        self._check_llama_cpp()
        self._check_model()
        self._check_upstream()
        self._check_dialect()
        if self.policy == "budget" and self.tokens_per_request is None:
            raise ValueError("policy budget needs tokens_per_request")
        if re.fullmatch(r"[^:]*:[^:]*|.*[\[/].*", self.host):
            raise ValueError(
                f"host {self.host} is not a host: give a name or an address without scheme, "
                "brackets and port"
            )
        if not (self.keys or self.allow_unauthenticated or is_loopback(self.host)):
            raise ValueError(
                f"host {self.host} without API keys would let anyone use this server; "
                "make one with 'tops key NAME', or pass --allow-unauthenticated"
            )
        anyone = [f"cors_origins {name}" for name in ("*", "null") if name in self.cors_origins]
        if "*" in self.allowed_hosts:  # any name: DNS rebinding; null: any sandboxed frame
            anyone.append("allowed_hosts *")
        if anyone and not (self.keys or self.allow_unauthenticated):
            raise ValueError(
                f"{anyone[0]} without API keys would let every web page use this server; make a "
                "key with 'tops key NAME', or pass --allow-unauthenticated"
            )
        if len({key.name for key in self.keys}) < len(self.keys):
            raise ValueError("two keys have the same name")
        if len({key.sha256 for key in self.keys}) < len(self.keys):
            raise ValueError("two keys have the same sha256: make a key for each with 'tops key'")
        if len({price.model for price in self.prices}) < len(self.prices):
            raise ValueError("two tables of prices have the same model")
        self._check_kinds()
        return self

    def _check_kinds(self) -> None:
        if len({kind.name for kind in self.kinds}) < len(self.kinds):
            raise ValueError(
                "two kinds have the same name: list all that shows a kind in its match"
            )
        kind_of: dict[str, str] = {}
        for kind in self.kinds:
            for source in kind.match:
                former = kind_of.setdefault(source, kind.name)
                if former != kind.name:
                    raise ValueError(f"{source} cannot show both kinds {former} and {kind.name}")
                prefix, _, name = source.partition(":")
                if prefix == "key" and name not in {key.name for key in self.keys}:
                    raise ValueError(f"kind {kind.name} matches {source}, but no key has this name")

    def _check_llama_cpp(self) -> None:
        if self.engine == "llama.cpp" and not is_gguf(self.model):
            raise ValueError("engine llama.cpp needs a model: set model to a .gguf file")
        if self.engine != "llama.cpp":
            for name in ("engine_threads", "engine_context", "chat_template"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name} is for engine llama.cpp: set model to a .gguf file")

    def _check_model(self) -> None:
        """Refuse a model whose name the demo would get, and which nothing would serve."""
        name = Path(self.model or "")
        is_other = len(name.parts) > 1 or name.suffix.lower() in _WEIGHTS
        if self.engine == "embedded" and self.checkpoint == DEMO and is_other and not self.upstream:
            raise ValueError(
                f"model {self.model} needs an engine: give a {GGUF_SUFFIX} file of it, which "
                "llama.cpp serves, or pass --engine vllm, or the --upstream of an engine"
            )

    def _check_upstream(self) -> None:
        is_on_loopback = is_loopback(self.host) or self.host in {"0.0.0.0", "::"}  # noqa: S104
        for url in self.upstream:
            host, port = urlsplit(url).hostname or "", urlsplit(url).port
            is_own = host == self.host or (is_on_loopback and is_loopback(host))
            if self.port and port == self.port and is_own:
                raise ValueError(f"upstream {url} is this gateway: give the URL of an engine")

    def _check_dialect(self) -> None:
        dialect = DIALECTS[self.dialect]
        if self.engine == "llama.cpp":
            if self.dialect != "llama.cpp":
                raise ValueError(f"engine llama.cpp does not speak dialect {self.dialect}")
        elif self.dialect != "vllm" and not self.upstream:
            raise ValueError(f"dialect {self.dialect} needs an upstream: set its URL")
        if dialect.hosted and self.model is None:
            raise ValueError(f"{self.dialect} serves many models: set model to the name of one")
        unsupported = [effort for effort in self.offered_efforts if effort not in dialect.efforts]
        if unsupported:
            raise ValueError(
                f"dialect {self.dialect} does not support {', '.join(unsupported)}: set efforts to "
                f"those that the model supports, of {', '.join(dialect.efforts)}"
            )
        limited = any(key.max_budget is not None for key in self.keys)
        if dialect.budget is None and (self.max_budget is not None or limited):
            raise ValueError(
                f"dialect {self.dialect} has no thinking budget, so max_budget cannot hold: limit "
                "efforts instead"
            )
        if dialect.budget is None and self.effort_budgets:
            raise ValueError(
                f"dialect {self.dialect} has no thinking budget, so effort_budgets cannot hold: "
                "leave it out"
            )
        for effort, budget in self.effort_budgets.items():
            if budget < dialect.min_budget:
                raise ValueError(
                    f"dialect {self.dialect} takes budgets of at least {dialect.min_budget} "
                    f"thinking tokens: raise that of '{effort}' in effort_budgets, or leave it out"
                )


def is_gguf(model: object) -> bool:
    """Whether the setting `model` is a file for llama.cpp."""
    return str(model or "").lower().endswith(GGUF_SUFFIX)


def flag_of(name: str) -> str:
    """The flag of a setting: `max_loss` is --max-loss."""
    return "--" + name.replace("_", "-")


def variable_of(name: str) -> str:
    """The environment variable of a setting: `max_loss` is TOPS_MAX_LOSS."""
    return PREFIX + name.upper()


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
