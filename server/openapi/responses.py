"""Response bodies. Answers of engines are described as far as their APIs require.

The gateway relays an engine's answer with all its fields, and adds the object `tops`.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel

from router.effort import Effort


class Open(BaseModel):
    """An object that may have further fields."""

    model_config = ConfigDict(extra="allow")


class Tops(BaseModel):
    """What the gateway decided, and what came of it; token counts are thinking tokens."""

    effort: Effort
    source: str = Field(description="request, key, pinned, router, fallback, holdout or explore.")
    budget: int | None
    budget_source: str | None
    budget_hit: bool | None = Field(description="Whether thinking was cut at the budget.")
    thinking_tokens: int | None
    baseline_tokens: int | None = Field(description="Estimate for the baseline effort.")
    composite: str | None = Field(
        None, description="The composite effort, of whose attempts `effort` is the last one."
    )
    attempts: int | None = Field(
        None, ge=1, le=2, description="At a composite effort: token counts are of all attempts."
    )


class Usage(Open):
    """Token counts; reasoning tokens are in `completion_tokens_details`."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatChoice(Open):
    index: int
    message: dict[str, Any]
    finish_reason: str | None = None


class ChatCompletion(Open):
    """An answer of the engine, with `tops` beside it."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage | None = None
    tops: Tops


class Response(Open):
    """An answer of the engine, with `tops` beside it."""

    id: str
    object: Literal["response"]
    output: list[dict[str, Any]]
    usage: dict[str, Any] | None = None
    tops: Tops


class Message(Open):
    """An answer of the engine, with `tops` beside it."""

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    content: list[dict[str, Any]]
    usage: dict[str, Any] | None = None
    tops: Tops


class Completion(Open):
    """The engine's answer, unchanged."""

    id: str
    object: Literal["text_completion"]
    choices: list[dict[str, Any]]
    usage: dict[str, Any] | None = None


class Embeddings(Open):
    """The engine's answer, unchanged."""

    object: Literal["list"]
    data: list[dict[str, Any]]
    usage: dict[str, Any] | None = None


class TokenCount(Open):
    """The engine's answer, unchanged."""

    input_tokens: int


class StreamEvent(Open):
    """One event of a stream; `data` is a chunk of the API as JSON, or [DONE] at the end.

    The last chunk but [DONE] has the object `tops`. A stream that fails ends with an error in
    place of a chunk.
    """

    data: str
    event: str | None = None


class CompositeEffort(BaseModel):
    """An attempt at `initial` with a budget and, where it hits that, one at `final`."""

    name: str
    kind: Literal["stop", "cap"]
    initial: Effort
    budget: int = Field(ge=1, description="Thinking tokens of the initial attempt.")
    final: Effort


class RouteExplanation(BaseModel):
    """The decision that a request would get; token counts are thinking tokens."""

    effort: Effort
    source: str
    conversation: str | None = Field(
        description="The field that names the conversation, or `history`; null without one."
    )
    arm: str | None = Field(description="Null without a conversation: it is drawn per request.")
    reason: str
    kind: str | None = Field(
        description="The kind of traffic that was used; null if none is known."
    )
    kind_sources: list[str] = Field(
        description="What the request shows of its kind, the most specific first."
    )
    abstained: str | None = Field(description="Why the router gave no estimate that is used.")
    budget: int | None
    budget_source: str | None
    composite: CompositeEffort | None = Field(
        description="The composite effort, of which `effort` and `budget` are the first attempt."
    )
    baseline_effort: Effort
    difficulty: float | None = Field(ge=0, le=1)
    p_correct: dict[str, float] | None = Field(description="By effort, composite ones too.")
    tokens: dict[str, float] | None = Field(description="By effort, composite ones too.")
    calibrated: bool
    load: float = Field(ge=0, le=1)
    features: dict[str, float]


class RequestFeedbackNote(BaseModel):
    """The feedback on a request as it is in the ledger."""

    request_id: str
    score: float = Field(ge=0, le=1)


class ConversationFeedbackNote(BaseModel):
    """The feedback on a conversation as it is in the ledger."""

    named_by: str = Field(description="The field or header that named the conversation.")
    solved: float = Field(ge=0, le=1)


class FeedbackNote(RootModel[RequestFeedbackNote | ConversationFeedbackNote]):
    """The feedback as it is in the ledger."""


class ModelCard(BaseModel):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    max_model_len: int | None
    efforts: list[Effort] = Field(description="Those that a request may name, cheapest first.")


class ModelList(BaseModel):
    """A list that holds the one served model."""

    object: Literal["list"]
    data: list[ModelCard]


class HealthState(BaseModel):
    """The process runs, whether or not an engine answers."""

    status: Literal["ok"]


class EffortState(BaseModel):
    """What an effort of an engine does, by the effort canary."""

    thinking_tokens: float = Field(description="Median of the replies.")
    interval: tuple[float, float] | None = Field(description="Of the median, 95 %.")
    prompts: int
    cut: int = Field(description="Replies that thought up to the limit.")
    verdict: Literal["works", "alias", "inverted", "not enough evidence"]
    stand_in: Effort | None = Field(description="What a router gets instead.")
    ratio: float | None = Field(description="To the next lower effort that is offered.")
    ratio_interval: tuple[float | None, float | None] | None
    detail: str


class EngineState(BaseModel):
    engine: str = Field(description="Host and port.")
    up: bool
    budgets: str = Field(description="How budgets are enforced: native, two-phase, none, ...")
    continues: bool = Field(description="Whether it answers after thinking that ran out of room.")
    efforts: dict[Effort, EffortState] | None = Field(description="None where not measured.")


class ReadyState(BaseModel):
    """Whether an engine answers, and what it was found to support."""

    engine: bool
    model: str | None
    efforts: list[Effort] = Field(description="Those that a request may name, cheapest first.")
    effort_budgets: dict[Effort, int] = Field(description="Thinking tokens by effort.")
    router: str
    budgets: str
    engines: list[EngineState]


class Timeline(BaseModel):
    """Totals per bin of equal length; `efforts` are counts of requests."""

    begin: float = Field(description="Start of the first bin, in Unix seconds.")
    bin_seconds: float
    efforts: list[dict[str, int]]
    thinking_tokens: list[int]
    budget_hits: list[int]


class RowsRead(BaseModel):
    """Ledger rows that the savings are estimated from, and their largest number."""

    read: int
    most: int


class DashboardState(BaseModel):
    """The data of the dashboard; `savings` as `tops savings --json` prints it."""

    key: str | None = Field(description="The API key whose requests these are; null for all.")
    requests: dict[str, int]
    savings: dict[str, Any]
    accuracy: dict[str, Any] | None
    by_effort: dict[str, Any]
    rows: RowsRead
    timeline: Timeline
    latest: list[dict[str, Any]]


class TryState(BaseModel):
    """What the page to try may offer to the API key of the request."""

    model: str | None = Field(description="Null while no engine is up.")
    router: str
    budgets: str
    efforts: list[Effort] = Field(description="Those that the key may name, cheapest first.")
    baseline: Effort
    max_budget: int | None = Field(description="Of the key, in thinking tokens.")
    context: int | None = Field(description="Of the model, in tokens.")
    ledger: bool
    is_demo: bool = Field(description="Whether the engine serves the demo model.")


class ErrorBody(Open):
    message: str
    type: str | None = None
    param: str | None = None
    code: str | int | None = None


class Error(Open):
    """OpenAI's error envelope; also that of an engine, passed on."""

    error: ErrorBody


class MessagesError(Open):
    """Anthropic's error envelope, with the fields of OpenAI's."""

    type: Literal["error"] | None = None
    error: ErrorBody
