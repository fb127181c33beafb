"""Every error a client can see, and the OpenAI envelope that carries it.

GatewayError
├── BadRequest            400  a field has the wrong type or value, or two fields disagree
├── Unauthorized          401  no API key, or an unknown one
├── HostNotAllowed        403  Host is a name that could be anyone's, and there are no API keys
├── OriginNotAllowed      403  a page of another site sent it, and there are no API keys
├── NotFound              404  another model than the served one was requested
├── NoSuchEndpoint        404  the engine does not have this API
├── UnknownRequest        404  the ledger has no request with this id and API key
├── BodyTimeout           408  the body was not complete within body_timeout
├── BodyTooLarge          413  the body is larger than max_body_bytes, or has too many values
├── UnsupportedMediaType  415  a browser sent the body as a form, and there are no API keys
├── TooManyRequests       429  the API key has max_in_flight requests in flight
├── RateLimited           429  the API key has reached a limit per minute or per day
├── SessionExhausted      429  the conversation has reached its budget of turns or thinking tokens
├── LimitsUnavailable     503  the store of limits is down, and limits_store_down is refuse
├── LedgerUnavailable     503  the gateway has no ledger, or its database is down
├── Stopping              503  the gateway stops, and shutdown_timeout has passed
├── EngineRefused         any  the engine's own status: it refused the request, or is overloaded
└── EngineError                the engine failed
    ├── EngineFailed      502  it closed the connection early, is unreadable, or refused our key
    ├── EngineDown        503  no connection
    └── EngineTimeout     504  it sent nothing for upstream_timeout
"""

from collections.abc import Mapping
from typing import Any, ClassVar


class GatewayError(Exception):
    """An error with an HTTP status; the message tells the client what to change."""

    status: int = 500
    type: str = "server_error"
    code: ClassVar[str | None] = None
    retry_after: int | str | None = None

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param

    def envelope(self) -> dict[str, Any]:
        """The OpenAI error object."""
        return error_envelope(self.message, self.type, self.param, self.code)

    def headers(self) -> dict[str, str]:
        """Response headers that belong to the status."""
        return {} if self.retry_after is None else {"retry-after": str(self.retry_after)}


class BadRequest(GatewayError):  # noqa: N818 - named as HTTP names it
    status = 400
    type = "invalid_request_error"


class Unauthorized(GatewayError):  # noqa: N818
    status = 401
    type = "authentication_error"
    code = "invalid_api_key"

    def headers(self) -> dict[str, str]:
        """The challenge that RFC 9110 requires with status 401."""
        return {"www-authenticate": "Bearer"}


class HostNotAllowed(GatewayError):  # noqa: N818
    status = 403
    type = "permission_error"
    code = "host_not_allowed"


class OriginNotAllowed(GatewayError):  # noqa: N818
    status = 403
    type = "permission_error"
    code = "origin_not_allowed"


class NotFound(GatewayError):  # noqa: N818
    status = 404
    type = "invalid_request_error"
    code = "model_not_found"


class NoSuchEndpoint(GatewayError):  # noqa: N818
    status = 404
    type = "invalid_request_error"
    code = "unsupported_endpoint"


class UnknownRequest(GatewayError):  # noqa: N818
    status = 404
    type = "invalid_request_error"
    code = "request_not_found"


class LedgerUnavailable(GatewayError):  # noqa: N818
    status = 503
    code = "ledger_unavailable"
    retry_after = 5


class Stopping(GatewayError):  # noqa: N818
    status = 503
    code = "stopping"
    retry_after = 1

    def __init__(self) -> None:
        super().__init__("the gateway is stopping; try again shortly")


class BodyTimeout(GatewayError):  # noqa: N818
    status = 408
    type = "invalid_request_error"
    code = "request_timeout"


class BodyTooLarge(GatewayError):  # noqa: N818
    status = 413
    type = "invalid_request_error"
    code = "request_too_large"


class UnsupportedMediaType(GatewayError):  # noqa: N818
    status = 415
    type = "invalid_request_error"
    code = "unsupported_media_type"


class TooManyRequests(GatewayError):  # noqa: N818
    status = 429
    type = "rate_limit_error"
    code = "too_many_in_flight"
    retry_after = 1


class RateLimited(GatewayError):  # noqa: N818
    """The key's limit of a unit, which leaves room again after so many seconds."""

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"

    def __init__(
        self, message: str, unit: str, seconds: int, headers: Mapping[str, str], is_soon: bool
    ) -> None:
        super().__init__(f"{message}; retry in {seconds:,} s")
        self.unit = unit
        self.retry_after = seconds
        self._headers = {**headers} if is_soon else {**headers, "x-should-retry": "false"}

    def headers(self) -> dict[str, str]:
        """`retry-after`, and the limits; clients of OpenAI and Anthropic obey `x-should-retry`."""
        return {**super().headers(), **self._headers}


class SessionExhausted(GatewayError):  # noqa: N818
    """The budget of a session, which no waiting refills."""

    status = 429
    type = "rate_limit_error"
    code = "session_budget_exceeded"

    def __init__(self, message: str, header: str) -> None:
        super().__init__(message)
        self._header = header

    def headers(self) -> dict[str, str]:
        """What is left, and that a client had better not try again."""
        return {self._header: "0", "x-should-retry": "false"}


class LimitsUnavailable(GatewayError):  # noqa: N818
    status = 503
    code = "limits_unavailable"
    retry_after = 1

    def __init__(self) -> None:
        super().__init__("the store of this key's limits does not answer; try again shortly")


_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class EngineRefused(GatewayError):  # noqa: N818
    """The engine's own status, 400 or above, where its error is not in OpenAI's envelope."""

    def __init__(self, message: str, status: int, retry_after: str | None) -> None:
        super().__init__(message)
        self.status = status
        self.type = "server_error" if status >= 500 else _TYPES.get(status, "invalid_request_error")
        self.retry_after = retry_after


class EngineError(GatewayError):
    """The engine failed on the request, or cannot be reached."""


class EngineFailed(EngineError):  # noqa: N818
    status = 502
    code = "engine_failed"
    retry_after = 1


class EngineDown(EngineError):  # noqa: N818
    status = 503
    code = "engine_down"
    retry_after = 2


class EngineTimeout(EngineError):  # noqa: N818
    status = 504
    code = "engine_timeout"
    retry_after = 5


def error_envelope(
    message: str, kind: str, param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    """The OpenAI error envelope around a message of type `kind`."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
