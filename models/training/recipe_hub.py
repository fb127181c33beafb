"""Recipe table of the hub: where the exported model is published, and under which licence."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from models.training.recipe_tuning import Table


class Hub(Table):
    """The stage `push` uploads the exported folder to `repo` of the Hugging Face Hub.

    The token is that of `HF_TOKEN` or `hf auth login`; `HF_ENDPOINT` names another hub. `license`
    is one of the hub's identifiers, such as `apache-2.0`: that of the base and the data must allow
    it. `languages` are ISO 639-1 codes. A new `repo` is `private` unless this says otherwise.
    `revision` is a branch of it, made if it is missing; by default the main one.
    """

    repo: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]
    license: Annotated[str, Field(pattern=r"^[a-z0-9.+-]+$")]
    languages: Sequence[Annotated[str, Field(pattern=r"^[a-z]{2,3}$")]] = ("en",)
    private: bool = True
    revision: str | None = None
