import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from simulated import CROSS_FITTED_ONCE, simulated

from router.artifact import Artifact, ArtifactError, load, save
from router.fitting.fit import fit
from router.policy import ALWAYS_BASELINE, OperatingPoint
from router.router import Router


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Artifact]:
    path = tmp_path_factory.mktemp("artifact") / "router.json"
    artifact = fit(simulated(200), CROSS_FITTED_ONCE).artifact
    save(artifact, path)
    return path, artifact


def test_a_saved_artifact_loads_unchanged(saved: tuple[Path, Artifact]) -> None:
    path, artifact = saved
    loaded = load(path)
    assert (loaded.model, loaded.weights, loaded.efforts, loaded.baseline) == (
        "make-believe",
        "w1",
        ("none", "low", "medium", "high"),
        "high",
    )
    assert loaded.prices == artifact.prices
    assert loaded.parameters.vocabulary.words == artifact.parameters.vocabulary.words
    assert loaded.parameters.p_weights == pytest.approx(artifact.parameters.p_weights, rel=1e-6)
    assert list(path.parent.iterdir()) == [path]


def test_an_artifact_of_an_older_version_keeps_its_meaning(
    saved: tuple[Path, Artifact], tmp_path: Path
) -> None:
    """There a loss has a price, or null where the router never leaves the baseline."""
    document = json.loads(saved[0].read_text())
    del document["points"]
    document["prices"] = [[0.0, None], [0.01, 0.5]]
    path = tmp_path / "router.json"
    path.write_text(json.dumps(document))
    assert load(path).prices.certified == ((0.0, ALWAYS_BASELINE), (0.01, OperatingPoint(0.5)))


def test_older_versions_read_a_new_artifact_as_less(saved: tuple[Path, Artifact]) -> None:
    """They know no margin: what needs one is no price for them."""
    document = json.loads(saved[0].read_text())
    prices, points = document["prices"], document["points"]
    assert [loss for loss, _ in prices] == [point["max_loss"] for point in points]
    assert any(point["margin"] is not None for point in points)
    assert all(price is None for _, price in prices)


def test_loading_is_quick(saved: tuple[Path, Artifact]) -> None:
    start = time.process_time()
    load(saved[0])
    assert time.process_time() - start < 0.2


def change(document: Any, *keys: str | int, to: object) -> None:
    for key in keys[:-1]:
        document = document[key]
    document[keys[-1]] = to


@pytest.mark.parametrize(
    ("keys", "to", "reason"),
    [
        (("kind",), "something", "not a router artifact"),
        (("schema",), 3, "newer than 2; upgrade"),
        (("schema",), "1", "fit it again"),
        (("features", "version"), 99, "other prompt features"),
        (("features", "names"), ["a"], "other prompt features"),
        (("efforts",), [], "damaged"),
        (("vocabulary",), None, "damaged"),
        (("delta",), 10**400, "damaged"),
        (("baseline",), "max", "damaged"),
        (("parameters",), {}, r"damaged \(field \w+ is missing\)"),
        (("parameters", "p_bias"), [0.0], "damaged"),
        (("parameters", "p_bias"), ["x"] * 4, "damaged"),
        (("parameters", "scale", 3), 0.0, "damaged"),
        (("parameters", "scale", 3), None, "damaged"),
        (("parameters", "slack"), True, "damaged"),
        (("schema",), 1, "fit it again"),
        (("prices",), [[0.01]], "damaged"),
        (("prices",), [[0.02, 1.0], [0.01, 0.5]], "damaged"),
        (("prices",), 3, "damaged"),
        (("frontier",), [], "damaged"),
        (("frontier",), [[0.0, 1.0]], "damaged"),
        (("vocabulary",), "one two", "damaged"),
        (("parameters", "word_weights"), [], "damaged"),
        (("delta",), None, "damaged"),
        (("metrics",), 5, "damaged"),
        (("prices", 1, 1), -0.1, "-0.1 is not within 0"),
        (("points",), [], "damaged"),
        (("points",), 3, "damaged"),
        (("points", 1), {"max_loss": 0.0025}, "damaged"),
        (("points", 1, "max_loss"), 0.9, "out of order"),
        (("points", 1, "price"), -0.1, "-0.1 is not within 0"),
        (("points", 1, "price"), None, "not a finite number"),
        (("points", 1, "margin"), -0.1, "-0.1 is not within 0"),
        (("points", 1, "bounded"), 1, "bounded is neither true nor false"),
        (("prices", 1, 0), 1.5, "1.5 is not within 0 and 1"),
        (("frontier", 0, 0), -0.1, "damaged"),
        (("frontier", 0, 1), 1.1, "damaged"),
        (("frontier", 0, 2), -1.0, "damaged"),
        (("delta",), -1, "damaged"),
        (("parameters", "slack"), -1.0, "damaged"),
        (("parameters", "smear", 0), -1.0, "damaged"),
        (("parameters", "spread", 0), 0.0, "damaged"),
        (("known_words", "tolerance"), 2.0, "2 is not within 0 and 1"),
        (("known_words", "weights"), [0.0], "damaged"),
        (("known_words", "word_weights"), [0.0], "damaged"),
        (("known_words", "bias"), None, "damaged"),
    ],
)
def test_an_invalid_artifact_is_refused_with_a_remedy(
    saved: tuple[Path, Artifact],
    tmp_path: Path,
    keys: tuple[str | int, ...],
    to: object,
    reason: str,
) -> None:
    document = json.loads(saved[0].read_text())
    change(document, *keys, to=to)
    path = tmp_path / "router.json"
    path.write_text(json.dumps(document))
    with pytest.raises(ArtifactError, match=reason) as caught:
        load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b"[]", b"null", b"7", b"[" * 100_000, b'{"kind": "tops-router"}'],
)
def test_a_corrupted_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "router.json"
    path.write_bytes(content)
    with pytest.raises(ArtifactError):
        load(path)


def test_a_file_with_a_byte_order_mark_is_read(
    saved: tuple[Path, Artifact], tmp_path: Path
) -> None:
    path = tmp_path / "router.json"
    path.write_bytes(b"\xef\xbb\xbf" + saved[0].read_bytes())
    assert load(path).model == saved[1].model


def test_a_truncated_and_a_missing_file_are_refused(
    saved: tuple[Path, Artifact], tmp_path: Path
) -> None:
    path = tmp_path / "router.json"
    with pytest.raises(ArtifactError, match="make one with `tops fit`"):
        load(path)
    path.write_bytes(saved[0].read_bytes()[:3000])
    with pytest.raises(ArtifactError, match="damaged"):
        load(path)
    with pytest.raises(ArtifactError, match="cannot be read"):
        load(tmp_path)


def test_other_weights_are_refused(saved: tuple[Path, Artifact]) -> None:
    assert Router.load(saved[0], "w1").artifact is not None
    assert Router.load(saved[0]).artifact is not None
    with pytest.raises(ArtifactError, match="fit a router for these weights"):
        Router.load(saved[0], "w2")


def test_all_numbers_are_finite(saved: tuple[Path, Artifact]) -> None:
    json.loads(saved[0].read_text(), parse_constant=pytest.fail)
    assert np.isfinite(load(saved[0]).parameters.range_limit)
