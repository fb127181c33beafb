"""Prices and operating points in an artifact's JSON, of this version and of older ones."""

import math
from collections.abc import Mapping
from typing import Any

from router.artifact_values import within
from router.policy import (
    ALWAYS_BASELINE,
    FrontierPoint,
    OperatingPoint,
    Prices,
    hopeless_below,
)


def priced(prices: Prices) -> dict[str, object]:
    return {
        "prices": [[loss, _plain_price(point)] for loss, point in prices.certified],
        "points": [
            {
                "max_loss": loss,
                "price": point.price,
                "margin": point.margin if point.leaves_baseline else None,
                "bounded": point.bounded,
                "dearer": point.dearer,
            }
            for loss, point in prices.certified
        ],
        "frontier": [[point.price, point.accuracy, point.tokens] for point in prices.frontier],
        "hopeless": prices.hopeless,
    }


def prices_of(document: dict[str, Any]) -> Prices:
    certified = tuple(
        (
            within(loss, 0, 1),
            ALWAYS_BASELINE if price is None else OperatingPoint(within(price, 0)),
        )
        for loss, price in document["prices"]
    )
    if "points" in document:  # artifacts of older versions know no margin
        certified = tuple(
            (within(fields["max_loss"], 0, 1), _point(fields)) for fields in document["points"]
        )
    frontier = tuple(
        FrontierPoint(within(price, 0), within(accuracy, 0, 1), within(tokens, 0))
        for price, accuracy, tokens in document["frontier"]
    )
    in_order = all(
        losses == sorted(losses)
        for losses in ([loss for loss, _ in document["prices"]], [loss for loss, _ in certified])
    )
    if not frontier or not in_order or len(certified) < len(document["prices"]):
        raise ValueError("prices are out of order, or there is no frontier")
    best = max(point.accuracy for point in frontier)  # for artifacts of older versions
    return Prices(certified, frontier, within(document.get("hopeless", hopeless_below(best)), 0, 1))


def _point(fields: Mapping[str, object]) -> OperatingPoint:
    """An operating point of the file; its margin is null where it never leaves the baseline."""
    margin = fields["margin"]
    for name in ("bounded", "dearer"):
        if not isinstance(fields[name], bool):
            raise ValueError(f"{name} is neither true nor false")  # noqa: TRY004 (of the file)
    return OperatingPoint(
        price=within(fields["price"], 0),
        margin=math.inf if margin is None else within(margin, 0),
        bounded=fields["bounded"] is True,
        dearer=fields["dearer"] is True,
    )


def _plain_price(point: OperatingPoint) -> float | None:
    """The price for older versions, where None is always the baseline: they know no margin."""
    return point.price if point == OperatingPoint(point.price) else None
