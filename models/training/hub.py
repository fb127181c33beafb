"""Stage `push`: the exported folder, with its card, in a repository of the Hugging Face Hub."""

from importlib import import_module
from typing import Any

from models.training.run import RunError, StageContext

_DENIED = (401, 403)


def push(context: StageContext) -> dict[str, Any]:
    """Have the hub check the card, create what is missing, and upload the folder.

    That is the repository, and the branch that the recipe calls `revision`.

    Files that the repository has already are not uploaded again, so that a stage that was killed
    goes on.

    Raises:
        RunError: the hub refuses the card, the token or the upload, or does not answer.
    """
    hub, folder = context.recipe.hub, context.inputs["export"] / "model"
    assert hub is not None
    library: Any = import_module("huggingface_hub")  # loaded by this stage alone
    endpoint = str(import_module("huggingface_hub.constants").ENDPOINT)
    api = library.HfApi(endpoint=endpoint)
    status_error: type[Exception] = import_module("huggingface_hub.errors").HfHubHTTPError
    # of the HTTP client that this version of the library uses
    http_error: type[Exception] = next(
        base for base in status_error.__mro__ if base.__name__ == "HTTPError"
    )
    try:
        library.ModelCard.load(folder / "README.md").validate()
        api.create_repo(hub.repo, private=hub.private, exist_ok=True)
        if hub.revision is not None:
            api.create_branch(hub.repo, branch=hub.revision, exist_ok=True)
        commit = api.upload_folder(
            repo_id=hub.repo,
            folder_path=folder,
            revision=hub.revision,
            commit_message=f"{context.recipe.name}, trained by the TOPS loop",
        )
    except ValueError as error:
        raise RunError(f"{endpoint} refuses the card of {folder}: {error}") from error
    except (http_error, OSError) as error:
        status: int | None = getattr(getattr(error, "response", None), "status_code", None)
        token = "set HF_TOKEN to a token that may write there, and " if status in _DENIED else ""
        raise RunError(
            f"{endpoint} did not take {hub.repo}: {error}; {token}run this again"
        ) from error
    return {"repo": hub.repo, "commit": commit.oid}
