"""Reads the chat template of the served model where it is at hand, and sets the efforts by it."""

import json
import os
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import structlog

from router.effort import Effort
from server.chat_templates.efforts import TemplateEfforts, read_efforts
from server.config.load_settings import SettingsError
from server.config.settings import DEMO, Settings
from server.engines.dialect import DIALECTS, Dialect
from server.engines.template_dialect import for_template, for_words
from server.http.json_codec import as_object
from server.llamacpp.gguf import GgufError, read_gguf

_PROPS_SECONDS = 2.0

log = structlog.get_logger(__name__)


def template_efforts(settings: Settings) -> TemplateEfforts | None:
    """What the model's chat template takes; None where it cannot be read."""
    template = _chat_template(settings)
    return None if template is None else read_efforts(template)


def with_template(settings: Settings, template: TemplateEfforts | None) -> Settings:
    """The settings with the efforts of the template, unless they are set.

    Raises:
        SettingsError: the baseline effort that is set is none of them.
    """
    set_fields = settings.model_fields_set
    if template is None or "efforts" in set_fields:
        return settings
    baseline: Effort = template.default
    if "baseline_effort" in set_fields:
        baseline = settings.baseline_effort
        if baseline not in {*template.variables, *settings.effort_budgets}:
            raise SettingsError(
                f"baseline_effort '{baseline}' is none of the efforts that the model's chat "
                f"template takes: {', '.join(template.efforts)}"
            )
    changed: dict[str, Any] = {"efforts": template.efforts, "baseline_effort": baseline}
    if settings.effort_budgets and "efforts_are_budgets" not in set_fields:
        changed["efforts_are_budgets"] = len({*template.efforts} - {"none"}) == 1
    return Settings.model_construct(set_fields, **{**vars(settings), **changed})


def log_efforts(settings: Settings, template: TemplateEfforts | None) -> None:
    """Log the efforts of the template, and what of the settings it does not take."""
    efforts = ", ".join(settings.offered_efforts)
    if settings.effort_budgets:
        log.info("efforts with a budget, in thinking tokens", **settings.effort_budgets)
        if template is not None and template.efforts == ("none",):
            log.warning("the model's chat template has no thinking that effort_budgets could limit")
    if template is None:
        is_readable = settings.upstream and settings.dialect == "llama.cpp"
        if is_readable and "efforts" not in settings.model_fields_set:
            log.warning(
                "the engine's chat template cannot be read yet: these efforts hold until it is up",
                efforts=efforts,
            )
        return
    unknown = [effort for effort in settings.efforts if effort not in template.variables]
    if unknown:
        log.warning(
            "the model's chat template does not take all of the efforts that are set",
            not_taken=", ".join(unknown),
            takes=", ".join(template.efforts),
        )
    else:
        baseline = settings.baseline_effort
        log.info("efforts of the model's chat template", efforts=efforts, default=baseline)


def dialect_of(settings: Settings, template: TemplateEfforts | None) -> Dialect:
    """How the engine spells the efforts that are offered.

    Where the template cannot be read and no efforts are set, it may know any of them.
    """
    dialect = DIALECTS[settings.dialect]
    own: tuple[Effort, ...] = settings.offered_efforts
    if template is not None:
        dialect, own = for_template(dialect, template), template.efforts
    elif "efforts" in settings.model_fields_set:
        own = settings.efforts
    return for_words(dialect, settings.effort_budgets, own)


def _chat_template(settings: Settings) -> str | None:
    if settings.upstream:
        return _served_template(settings) if settings.dialect == "llama.cpp" else None
    if settings.chat_template is not None:
        return _read(settings.chat_template)
    if settings.engine == "llama.cpp":
        try:
            return read_gguf(Path(str(settings.model))).chat_template
        except GgufError:  # said where the engine is started
            return None
    if settings.engine == "embedded" and settings.checkpoint == DEMO:
        return None  # it takes the default efforts, and jinja2 costs a start 50 ms of CPU
    folder = settings.folder or _cached(str(settings.model))
    return None if folder is None else _folder_template(folder)


def _folder_template(folder: Path) -> str | None:
    """The template in a model's folder: a file of its own, or a field of the tokenizer's."""
    template = _read(folder / "chat_template.jinja")
    if template is not None:
        return template
    try:
        raw: object = json.loads(_read(folder / "tokenizer_config.json") or "{}")
    except ValueError:
        return None
    value = cast("dict[str, Any]", raw).get("chat_template") if isinstance(raw, dict) else None
    return value if isinstance(value, str) else None


def _cached(model: str) -> Path | None:
    """The folder of a model that was downloaded from the Hugging Face Hub; None if it was not."""
    home = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    hub = Path(os.environ.get("HF_HUB_CACHE", home / "hub"))
    repository = hub / f"models--{model.replace('/', '--')}"
    revision = _read(repository / "refs" / "main")
    folder = repository / "snapshots" / (revision or "").strip()
    return folder if revision and folder.is_dir() else None


def _served_template(settings: Settings) -> str | None:
    """The template that a running llama.cpp shows beside its /v1; None if it is not up yet."""
    import httpx  # noqa: PLC0415 - which other gateways do without

    secret = settings.upstream_api_key
    headers = {"authorization": f"Bearer {secret.get_secret_value()}"} if secret else {}
    for url in settings.upstream:
        parts = urlsplit(url.rstrip("/").removesuffix("/v1"))
        try:
            props: object = httpx.get(
                f"{parts.geturl()}/props", headers=headers, timeout=_PROPS_SECONDS, trust_env=False
            ).json()
        except (httpx.HTTPError, httpx.InvalidURL, ValueError):
            continue
        template = as_object(props).get("chat_template")
        if isinstance(template, str):
            return template
    return None


def _read(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, ValueError):
        return None
