"""Fixtures that several test files share."""

from collections.abc import Generator

import httpx
import pytest
from processes import serving


@pytest.fixture(scope="session")
def gateway() -> Generator[str]:
    """The base URL of a gateway in front of its embedded engine."""
    with serving() as server:
        yield server.url


@pytest.fixture
def http() -> Generator[httpx.Client]:
    """An HTTP client that gives up after 30 seconds."""
    with httpx.Client(timeout=30) as client:
        yield client
