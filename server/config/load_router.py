"""Loads the router that was fitted to the served weights."""

from pathlib import Path

from router.artifact import ArtifactError, weights_hash
from router.router import Router
from server.config.settings import Settings


def load_router(settings: Settings) -> Router:
    """The router of the settings; one that always abstains if none was fitted to these weights.

    Raises:
        ArtifactError: the artifact cannot be used; the message says what to do.
    """
    folder, path = settings.folder, settings.router
    if path is None and folder is not None and (folder / "router.json").is_file():
        path = folder / "router.json"
    if path is None:
        return Router.without_artifact(settings.offered_efforts, settings.baseline_effort)
    if path == Path("portable"):
        return Router.portable(settings.offered_efforts, settings.baseline_effort)
    router = Router.load(path)
    assert router.artifact is not None
    _check_ladder(router, settings, path)
    fitted = router.artifact.weights
    if folder is not None and fitted is not None and fitted != weights_hash(folder):
        reason = "the router was fitted on other weights"
        return Router.without_artifact(settings.offered_efforts, settings.baseline_effort, reason)
    return router


def _check_ladder(router: Router, settings: Settings, path: Path) -> None:
    missing = [effort for effort in router.efforts if effort not in settings.offered_efforts]
    if missing:
        raise ArtifactError(
            f"{path} was fitted on the efforts {', '.join(router.efforts)}, of which the model "
            f"lacks {', '.join(missing)}: set efforts to what the model has, or fit again"
        )
    is_set = "baseline_effort" in settings.model_fields_set
    if is_set and router.baseline != settings.baseline_effort:
        raise ArtifactError(
            f"{path} was fitted against the baseline effort {router.baseline}, but "
            f"baseline_effort is {settings.baseline_effort}: make them agree, or fit again"
        )
