"""The endpoint of text completions: forwarded without a decision, within the budget of the key."""

from collections.abc import Mapping
from typing import Any

from server.api_keys import ApiKeys, Caller
from server.config.settings import Settings
from server.decide.budget import thinking_limit
from server.decide.completion_budget import apply_completion_budget
from server.decide.effort_cap import check_completion
from server.endpoints.passthrough import Passthrough
from server.engines.dialect import COMPLETIONS
from server.engines.fleet import Fleet
from server.http.body import BodyReader
from server.lifecycle.tracker import RequestTracker
from server.limits.key_limits import KeyLimits


class Completions(Passthrough):
    """The endpoint of `POST /v1/completions`."""

    def __init__(
        self,
        settings: Settings,
        bodies: BodyReader,
        keys: ApiKeys,
        limits: KeyLimits,
        fleet: Fleet,
        tracker: RequestTracker,
    ) -> None:
        super().__init__(COMPLETIONS, bodies, keys, limits, fleet, tracker)
        self._settings = settings

    def _rewrite(
        self, body: dict[str, Any], headers: Mapping[str, str], caller: Caller
    ) -> dict[str, Any]:
        check_completion(caller, self._settings)
        limit, _ = thinking_limit(caller, self._settings)
        fleet = self._fleet
        return apply_completion_budget(body, headers, limit, fleet.budget_support, fleet.dialect)
