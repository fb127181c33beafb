"""`router.json`: the fitted router of one model, with the hash of the weights it was fitted on.

Owns the file's format and every reason to refuse a file; knows nothing of how it was fitted.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from router.arrays import Array
from router.artifact_prices import priced, prices_of
from router.artifact_values import array, bounds, plain, within
from router.composite import Composite, parse_composite
from router.features import FEATURE_NAMES, FEATURES_VERSION
from router.json_text import Fields, parse_json
from router.kind_offsets import NO_KINDS, KindOffsets
from router.known_words import KnownWords
from router.parameters import Parameters
from router.policy import Prices
from router.vocabulary import Vocabulary

SCHEMA = 2
_KIND = "tops-router"
_HASH_BLOCK_BYTES = 2**20
_REFIT = "fit it again with `tops fit`"


class ArtifactError(Exception):
    """The artifact cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class Artifact:
    """A fitted router.

    `efforts` are cheapest first; `baseline` is the effort without a router. `prices.certified`
    holds with confidence 1 - `delta`. `metrics` and `provenance` are for readers only.
    `calibrated` is False where the estimates are for models in general. `composites` are estimated
    and may be chosen beside `efforts`, by `composite_prices`, which are certified with them.
    """

    model: str
    weights: str | None
    efforts: tuple[str, ...]
    baseline: str
    parameters: Parameters
    prices: Prices
    delta: float
    metrics: Mapping[str, object]
    provenance: Mapping[str, object]
    calibrated: bool = True
    composites: tuple[Composite, ...] = ()
    composite_prices: Prices | None = None

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The names of all that is estimated: the efforts, then the composites."""
        return (*self.efforts, *(composite.name for composite in self.composites))


def weights_hash(checkpoint: Path) -> str:
    """SHA-256 over a checkpoint's safetensors files, in name order."""
    digest = hashlib.sha256()
    for file in sorted(checkpoint.glob("*.safetensors")):
        with file.open("rb") as stream:
            while block := stream.read(_HASH_BLOCK_BYTES):
                digest.update(block)
    return digest.hexdigest()


def save(artifact: Artifact, path: str | Path) -> None:
    """Write an artifact; on failure an earlier file stays unchanged. Raises OSError."""
    parameters = {
        field.name: plain(getattr(artifact.parameters, field.name))
        for field in fields(Parameters)
        if field.name not in ("kinds", "known_words")
    }
    kinds, known_words = artifact.parameters.kinds, artifact.parameters.known_words
    words = artifact.parameters.vocabulary.words
    document = {
        "kind": _KIND,
        "schema": SCHEMA,
        "model": artifact.model,
        "weights": artifact.weights,
        "efforts": artifact.efforts,
        "baseline": artifact.baseline,
        "features": {"version": FEATURES_VERSION, "names": FEATURE_NAMES},
        "delta": artifact.delta,
        **priced(artifact.prices),
        "metrics": artifact.metrics,
        "provenance": artifact.provenance,
        "calibrated": artifact.calibrated,
        "vocabulary": " ".join(word.decode() for word in words),
        "parameters": parameters
        | {"known_share": 1.0 - known_words.tolerance},  # for older versions
        "known_words": {
            field.name: plain(getattr(known_words, field.name)) for field in fields(known_words)
        },
        "kinds": [[kind, plain(offsets)] for kind, offsets in kinds.by_kind.items()],
        "kind_guard": kinds.guard,
    }
    if artifact.composite_prices is not None:
        names = [composite.name for composite in artifact.composites]
        document["composites"] = {"names": names, **priced(artifact.composite_prices)}
    target = Path(path)
    partial = target.with_name(target.name + ".partial")
    partial.write_text(json.dumps(document, allow_nan=False) + "\n", encoding="utf-8")
    partial.replace(target)


def load(path: str | Path) -> Artifact:
    """Read an artifact. Raises ArtifactError unless it is complete and of this version."""
    try:
        raw = Path(path).read_bytes()
    except FileNotFoundError as error:
        raise ArtifactError(
            f"there is no router artifact at {path}; make one with `tops fit`"
        ) from error
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read ({error.strerror}); {_REFIT}") from error
    try:
        document = parse_json(raw)
    except ValueError as error:
        raise ArtifactError(f"{path} is damaged ({error}); {_REFIT}") from error
    parsed = document if isinstance(document, Fields) else Fields()
    if parsed.get("kind") != _KIND:
        raise ArtifactError(f"{path} is not a router artifact; give the file that `tops fit` wrote")
    schema = parsed.get("schema")
    if isinstance(schema, int) and schema > SCHEMA:
        raise ArtifactError(f"{path} has schema {schema}, newer than {SCHEMA}; upgrade tops-server")
    if schema != SCHEMA:
        raise ArtifactError(f"{path} has schema {schema!r}, not {SCHEMA}; {_REFIT}")
    features = parsed.get("features")
    if features != {"version": FEATURES_VERSION, "names": list(FEATURE_NAMES)}:
        raise ArtifactError(
            f"{path} was fitted on other prompt features than version {FEATURES_VERSION}; {_REFIT}"
        )
    try:
        return _artifact(parsed)
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ArtifactError(f"{path} is damaged ({error}); {_REFIT}") from error


def _artifact(document: dict[str, Any]) -> Artifact:
    efforts = tuple(str(effort) for effort in document["efforts"])
    if not efforts or len(set(efforts)) < len(efforts) or document["baseline"] not in efforts:
        raise ValueError("efforts are empty or repeated, or lack the baseline")
    weights = document["weights"]
    composites = _composites(document, efforts)
    return Artifact(
        model=str(document["model"]),
        weights=None if weights is None else str(weights),
        efforts=efforts,
        baseline=str(document["baseline"]),
        parameters=_parameters(document, len(efforts) + len(composites)),
        prices=prices_of(document),
        delta=within(document["delta"], 0, 1),
        metrics=dict(document["metrics"]),
        provenance=dict(document["provenance"]),
        calibrated=document["calibrated"] is True,
        composites=composites,
        composite_prices=prices_of(document["composites"]) if composites else None,
    )


def _composites(document: Mapping[str, Any], efforts: tuple[str, ...]) -> tuple[Composite, ...]:
    """The composite efforts; artifacts of older versions, and fits that win none, have none."""
    part = document.get("composites")
    composites = tuple(parse_composite(name) for name in part["names"]) if part else ()
    if not all(effort in efforts for composite in composites for effort in composite.efforts):
        raise ValueError("a composite has an effort without estimates")
    return composites


def _parameters(document: dict[str, Any], efforts: int) -> Parameters:
    numbers = document["parameters"]
    words = tuple(word.encode() for word in document["vocabulary"].split())
    features = len(FEATURE_NAMES)
    shapes = {
        **dict.fromkeys(("center", "scale", "low", "high"), (features,)),
        **dict.fromkeys(("p_weights", "token_weights"), (efforts, features)),
        **dict.fromkeys(("p_bias", "token_bias", "smear", "spread"), (efforts,)),
        "word_weights": (len(words), 2 * efforts),
    }
    arrays = {name: array(numbers[name], name, shape) for name, shape in shapes.items()}
    for name in ("scale", "smear", "spread"):
        if not (arrays[name] > 0).all():
            raise ValueError(f"parameter {name} is not positive")
    return Parameters(
        **arrays,
        vocabulary=Vocabulary(words, array(numbers["vocabulary"], "vocabulary", (len(words),))),
        slack=within(numbers["slack"], 0),
        range_limit=within(numbers["range_limit"], 0),
        known_words=_known_words(document, numbers, len(words)),
        kinds=_kinds(document, efforts),
        **_added_later(numbers, efforts),
    )


def _added_later(numbers: Mapping[str, Any], efforts: int) -> dict[str, Any]:
    """Parameters that artifacts of older versions lack, with what stands in for them.

    There a prompt with an unknown word has no budget, estimates of tokens have no bound, and a
    system message is foreign if no prompt of the fit had any text around the one that is routed.
    """
    characters, context = (FEATURE_NAMES.index(f) for f in ("characters", "context_characters"))
    alone = all(
        numbers[name][characters] == numbers[name][context] for name in ("center", "low", "high")
    )
    return {
        "composites": int(within(numbers.get("composites", 0), 0, efforts - 1)),
        "top_budget": bounds(numbers, "top_budget", efforts),
        "top_tokens": bounds(numbers, "top_tokens", efforts),
        "system_share": within(numbers.get("system_share", 0.0 if alone else 0.5), 0, 1),
    }


def _known_words(document: Mapping[str, Any], numbers: Mapping[str, Any], words: int) -> KnownWords:
    """The limit on unknown words; in artifacts of older versions, the same for every prompt."""
    part = document.get("known_words")
    if part is None:
        share = within(numbers["known_share"], 0, 1)
        return KnownWords.at_least(share, len(FEATURE_NAMES), words)
    return KnownWords(
        weights=array(part["weights"], "known_words", (len(FEATURE_NAMES),)),
        word_weights=array(part["word_weights"], "known_words", (words,)),
        bias=within(part["bias"], -math.inf),
        tolerance=within(part["tolerance"], 0, 1),
    )


def _kinds(document: Mapping[str, Any], efforts: int) -> KindOffsets:
    """The kinds of traffic; none in artifacts of older versions."""
    offsets: dict[str | None, Array] = {}
    for kind, values in document.get("kinds", ()):
        if not isinstance(kind, str | None) or kind in offsets:
            raise ValueError(f"kind {kind!r} is not text, or there twice")
        offsets[kind] = array(values, "kinds", (2 * efforts,))
    guard = within(document.get("kind_guard", 0.0), 0, 1)
    return KindOffsets(offsets, guard) if offsets else NO_KINDS
