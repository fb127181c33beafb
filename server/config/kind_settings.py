"""The settings of one kind of traffic."""

from pydantic import BaseModel, ConfigDict, Field, field_validator

from router.kind import is_source


class KindSettings(BaseModel):
    """One kind of traffic: a [[kinds]] table of tops.toml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(
        min_length=1,
        max_length=128,
        description="Name of the kind, as in `kind` of the outcomes of the fit and in reports.",
    )
    match: tuple[str, ...] = Field(
        min_length=1,
        description="What shows it: any of `key:NAME`, `model:NAME`, `system:HASH`, `tools`, "
        "`json`.",
    )

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if not name.isprintable() or name != name.strip():
            raise ValueError("a name is printable, without spaces around it")
        return name

    @field_validator("match")
    @classmethod
    def _check_sources(cls, sources: tuple[str, ...]) -> tuple[str, ...]:
        for source in sources:
            if not is_source(source):
                raise ValueError(
                    f"'{source}' shows no kind: give key:NAME, model:NAME, system:HASH (32 "
                    "hexadecimal digits, as POST /v1/route has them), tools or json"
                )
        return sources
