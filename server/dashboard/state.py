"""How the gateway is at this moment: requests in flight, engines, router."""

from typing import Any

from server.decide.decider import Decider
from server.engines.fleet import Fleet
from server.observe.metrics import Metrics


def state(decider: Decider, fleet: Fleet, metrics: Metrics) -> dict[str, Any]:
    """What the dashboard tells of this moment; `model` is null while no engine is up."""
    served = fleet.health.model_info
    model = served.model if served else None
    return {
        "model": model,
        "router": decider.router_for(model).state,
        "baseline": decider.baseline,
        "in_flight": round(metrics.value("tops_in_flight")),
        "load": metrics.value("tops_load_pressure"),
        "engines": fleet.health.states(),
    }
