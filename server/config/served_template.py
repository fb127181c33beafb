"""Follows the chat template of a running llama.cpp, which may come up after the gateway."""

from collections.abc import Callable

import structlog

from router.artifact import ArtifactError
from router.router import Router
from server.chat_templates.efforts import TemplateEfforts, read_efforts
from server.config.load_router import load_router
from server.config.load_settings import SettingsError
from server.config.model_template import dialect_of, log_efforts, with_template
from server.config.settings import Settings
from server.engines.dialect import Dialect

Adopt = Callable[[Settings, Router, Dialect], None]

log = structlog.get_logger(__name__)


class ServedTemplate:
    """Reads the templates that engines show as they come up, and has a changed one adopted.

    Args:
        settings: the gateway's, with the efforts of the template that was read at its start.
        template: that template's efforts; None where it could not be read yet.
        adopt: takes the settings, the router and the dialect that follow from a new template.
    """

    def __init__(self, settings: Settings, template: TemplateEfforts | None, adopt: Adopt) -> None:
        self._settings = settings
        self._template = template
        self._adopt = adopt

    def read(self, text: str) -> None:
        """Adopt the efforts of a template's text; what does not fit the settings is logged."""
        template = read_efforts(text)
        if template is None or template == self._template:
            return
        self._template = template
        try:
            settings = with_template(self._settings, template)
            router = load_router(settings)
        except (SettingsError, ArtifactError, OSError) as error:
            log.warning("the model's chat template does not fit the settings", reason=str(error))
            return
        log_efforts(settings, template)
        self._adopt(settings, router, dialect_of(settings, template))
