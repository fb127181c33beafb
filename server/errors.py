"""Every error a client can see, and the OpenAI envelope that carries it.

GatewayError
├── BadRequest            400  the request contradicts itself or the contract
├── Unauthorized          401  no key, or a wrong one
├── NotFound              404  no such model
├── NoSuchEndpoint        404  the engine does not speak this API
├── UnknownRequest        404  no such request in the ledger
├── BodyTimeout           408  the body did not arrive in time
├── BodyTooLarge          413  the body is larger than allowed
├── TooManyRequests       429  the key has too many requests in flight
├── LedgerUnavailable     503  there is no ledger, or it is down
├── Stopping              503  the gateway ends, and the time for draining is over
├── EngineRefused         4xx  the engine will not answer this, and says why
└── EngineError                the engine did not answer as it should
    ├── EngineFailed      502  it broke off, or answered something else than a completion
    ├── EngineDown        503  it cannot be reached
    └── EngineTimeout     504  it was silent for too long
"""

from typing import Any, ClassVar


class GatewayError(Exception):
    """An error with an HTTP status; the message says what to change."""

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
    """400."""

    status = 400
    type = "invalid_request_error"


class Unauthorized(GatewayError):  # noqa: N818
    """401."""

    status = 401
    type = "authentication_error"
    code = "invalid_api_key"

    def headers(self) -> dict[str, str]:
        """RFC 9110 asks for a challenge."""
        return {"www-authenticate": "Bearer"}


class NotFound(GatewayError):  # noqa: N818
    """404."""

    status = 404
    type = "invalid_request_error"
    code = "model_not_found"


class NoSuchEndpoint(GatewayError):  # noqa: N818
    """404."""

    status = 404
    type = "invalid_request_error"
    code = "unsupported_endpoint"


class UnknownRequest(GatewayError):  # noqa: N818
    """404."""

    status = 404
    type = "invalid_request_error"
    code = "request_not_found"


class LedgerUnavailable(GatewayError):  # noqa: N818
    """503."""

    status = 503
    code = "ledger_unavailable"
    retry_after = 5


class Stopping(GatewayError):  # noqa: N818
    """503."""

    status = 503
    code = "stopping"
    retry_after = 1

    def __init__(self) -> None:
        super().__init__("the gateway is stopping; try again shortly")


class BodyTimeout(GatewayError):  # noqa: N818
    """408."""

    status = 408
    type = "invalid_request_error"
    code = "request_timeout"


class BodyTooLarge(GatewayError):  # noqa: N818
    """413."""

    status = 413
    type = "invalid_request_error"
    code = "request_too_large"


class TooManyRequests(GatewayError):  # noqa: N818
    """429."""

    status = 429
    type = "rate_limit_error"
    code = "too_many_in_flight"
    retry_after = 1


_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class EngineRefused(GatewayError):  # noqa: N818
    """The engine's own status, of 400 to 499, where it does not tell it as OpenAI does."""

    def __init__(self, message: str, status: int, retry_after: str | None) -> None:
        super().__init__(message)
        self.status = status
        self.type = _TYPES.get(status, "invalid_request_error")
        self.retry_after = retry_after


class EngineError(GatewayError):
    """The engine did not answer as it should."""


class EngineFailed(EngineError):  # noqa: N818
    """502."""

    status = 502
    code = "engine_failed"
    retry_after = 1


class EngineDown(EngineError):  # noqa: N818
    """503."""

    status = 503
    code = "engine_down"
    retry_after = 2


class EngineTimeout(EngineError):  # noqa: N818
    """504."""

    status = 504
    code = "engine_timeout"
    retry_after = 5


def error_envelope(
    message: str, kind: str, param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    """The OpenAI error object around one sentence."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
