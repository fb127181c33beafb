"""Checks before a run: whether its requests can be sent at all."""

import os

import httpx

from loadtest.plan import Plan, PlanError

_TIMEOUT_SECONDS = 5


class TargetDownError(Exception):
    """Nothing listens where a plan's requests are to go."""


async def preflight(plan: Plan) -> None:
    """Connect to every server of a plan.

    Raises:
        TargetDownError: nothing listens at a URL of the plan.
        PlanError: the environment variable with the API key is not set, or a URL lacks its `/v1`.
    """
    headers = request_headers(plan)
    async with httpx.AsyncClient(timeout=_TIMEOUT_SECONDS) as http:
        for url in sorted({arm.url or plan.url for arm in plan.arms}):
            try:
                answer = await http.get(f"{url}/models", headers=headers)
                if answer.status_code == 404:
                    answer = await http.get(f"{url}/v1/models", headers=headers)
                    if answer.is_success:
                        raise PlanError(f"{url} is not the base URL of the API: add /v1")
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                message = f"nothing listens at {url} ({error or 'timeout'})"
                raise TargetDownError(message) from error
            except httpx.RequestError:
                continue  # something listens; the run measures how it answers requests


def request_headers(plan: Plan) -> dict[str, str]:
    """The headers of every request.

    Raises:
        PlanError: the environment variable with the API key is not set.
    """
    if plan.api_key_env is None:
        return {}
    if not (key := os.environ.get(plan.api_key_env)):
        raise PlanError(f"api_key_env: the environment has no {plan.api_key_env}")
    return {"authorization": f"Bearer {key}"}
