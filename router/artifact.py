"""`router.json`: the fitted router of one model, tied to the weights that it was fitted on.

Owns the file's format and every reason to refuse a file; knows nothing of how it was fitted.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, cast

import numpy as np

from router.estimate import Parameters
from router.features import FEATURE_NAMES, FEATURES_VERSION

SCHEMA = 1
_KIND = "tops-router"
_REFIT = "fit it again with `tops fit`"


class ArtifactError(Exception):
    """The artifact cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class Artifact:
    """A fitted router.

    `efforts` are cheapest first; `baseline` is the effort of a request without a router.
    `epsilons` maps a promised accuracy loss to the largest epsilon certified to keep it with
    confidence 1 - `delta`, or None. `metrics` and `provenance` are for readers only.
    """

    model: str
    weights: str | None
    efforts: tuple[str, ...]
    baseline: str
    parameters: Parameters
    epsilons: Mapping[float, float | None]
    delta: float
    metrics: Mapping[str, object]
    provenance: Mapping[str, object]


def save(artifact: Artifact, path: str | Path) -> None:
    """Write an artifact; the file appears whole or not at all."""
    parameters = {
        field.name: _plain(getattr(artifact.parameters, field.name)) for field in fields(Parameters)
    }
    document = {
        "kind": _KIND,
        "schema": SCHEMA,
        "model": artifact.model,
        "weights": artifact.weights,
        "efforts": artifact.efforts,
        "baseline": artifact.baseline,
        "features": {"version": FEATURES_VERSION, "names": FEATURE_NAMES},
        "delta": artifact.delta,
        "epsilons": [[loss, epsilon] for loss, epsilon in artifact.epsilons.items()],
        "metrics": artifact.metrics,
        "provenance": artifact.provenance,
        "parameters": parameters,
    }
    target = Path(path)
    partial = target.with_name(target.name + ".partial")
    partial.write_text(json.dumps(document, allow_nan=False) + "\n", encoding="utf-8")
    partial.replace(target)


def load(path: str | Path) -> Artifact:
    """Read an artifact. Raises ArtifactError unless it is whole and of this version."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ArtifactError(
            f"there is no router artifact at {path}; make one with `tops fit`"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path} cannot be read ({error}); {_REFIT}") from error
    try:
        document: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path} is damaged ({error}); {_REFIT}") from error
    known = cast("dict[str, Any]", document) if isinstance(document, dict) else {}
    if known.get("kind") != _KIND:
        raise ArtifactError(f"{path} is not a router artifact; give the file that `tops fit` wrote")
    schema = known.get("schema")
    if isinstance(schema, int) and schema > SCHEMA:
        raise ArtifactError(f"{path} has schema {schema}, newer than {SCHEMA}; upgrade tops-server")
    if schema != SCHEMA:
        raise ArtifactError(f"{path} has schema {schema!r}, not {SCHEMA}; {_REFIT}")
    features = known.get("features")
    if features != {"version": FEATURES_VERSION, "names": list(FEATURE_NAMES)}:
        raise ArtifactError(
            f"{path} was fitted on other prompt features than version {FEATURES_VERSION}; {_REFIT}"
        )
    try:
        return _artifact(known)
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{path} is damaged ({error!r}); {_REFIT}") from error


def _artifact(document: dict[str, Any]) -> Artifact:
    efforts = tuple(str(effort) for effort in document["efforts"])
    if not efforts or len(set(efforts)) < len(efforts) or document["baseline"] not in efforts:
        raise ValueError("efforts are empty or repeated, or lack the baseline")
    weights = document["weights"]
    return Artifact(
        model=str(document["model"]),
        weights=None if weights is None else str(weights),
        efforts=efforts,
        baseline=str(document["baseline"]),
        parameters=_parameters(document["parameters"], len(efforts)),
        epsilons={
            _finite(loss): None if epsilon is None else _finite(epsilon)
            for loss, epsilon in document["epsilons"]
        },
        delta=_finite(document["delta"]),
        metrics=dict(document["metrics"]),
        provenance=dict(document["provenance"]),
    )


def _parameters(document: dict[str, Any], efforts: int) -> Parameters:
    features = len(FEATURE_NAMES)
    shapes = {
        **dict.fromkeys(("center", "scale", "low", "high"), (features,)),
        **dict.fromkeys(("p_weights", "token_weights"), (efforts, features)),
        **dict.fromkeys(("p_bias", "token_bias", "smear", "spread"), (efforts,)),
    }
    arrays = {name: np.asarray(document[name], dtype=np.float64) for name in shapes}
    for name, array in arrays.items():
        if array.shape != shapes[name] or not np.isfinite(array).all():
            raise ValueError(f"parameter {name} has the wrong shape or is not finite")
    if not (arrays["scale"] > 0).all():
        raise ValueError("parameter scale is not positive")
    return Parameters(
        **arrays,
        slack=_finite(document["slack"]),
        range_limit=_finite(document["range_limit"]),
    )


def _finite(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is not a finite number")
    return float(value)


def _plain(value: object) -> object:
    """Arrays as nested lists of nine significant digits; floats as they are."""
    if isinstance(value, np.ndarray):
        array = cast("np.ndarray[Any, np.dtype[np.float64]]", value)
        return np.array([float(f"{v:.9g}") for v in array.ravel()]).reshape(array.shape).tolist()
    return value
