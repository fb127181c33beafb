"""Routers that always choose a composite effort where a request may have one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from paths import ROOT

from router.artifact import Artifact, load, save
from router.composite import Composite
from router.known_words import KnownWords
from router.policy import FrontierPoint, OperatingPoint, Prices

EASY = 1e9
"""A range of features that no prompt leaves."""


def composite_artifact(composite: Composite, model: str = "demo") -> Artifact:
    """The demo's router with a composite that is expected to be always right, for no tokens."""
    demo = load(ROOT / "models" / "demo" / "router.json")
    fitted, size = demo.parameters, len(demo.efforts)
    words = fitted.word_weights
    none = np.zeros((len(words), 1))
    parameters = replace(
        fitted,
        p_weights=np.vstack([fitted.p_weights, np.zeros_like(fitted.p_weights[:1])]),
        p_bias=np.append(fitted.p_bias, 30.0),
        token_weights=np.vstack([fitted.token_weights, np.zeros_like(fitted.token_weights[:1])]),
        token_bias=np.append(fitted.token_bias, 0.0),
        word_weights=np.hstack([words[:, :size], none, words[:, size:], none]),
        smear=np.append(fitted.smear, 1.0),
        spread=np.append(fitted.spread, 1.0),
        top_budget=np.append(fitted.top_budget, np.inf),
        top_tokens=np.append(fitted.top_tokens, np.inf),
        range_limit=EASY,
        known_words=KnownWords.at_least(0.0, fitted.p_weights.shape[1], len(words)),
        system_share=0.5,
        composites=1,
    )
    prices = Prices(((0.0, OperatingPoint(1000.0)),), (FrontierPoint(1000.0, 1.0, 10.0),))
    return replace(
        demo,
        model=model,
        parameters=parameters,
        composites=(composite,),
        composite_prices=prices,
    )


def composite_router(path: Path, composite: Composite, model: str = "demo") -> str:
    """The file of such a router."""
    save(composite_artifact(composite, model), path)
    return str(path)
