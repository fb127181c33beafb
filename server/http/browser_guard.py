"""Keeps web pages out of a gateway without API keys, which answers whoever reaches it.

A browser on this machine reaches it for every page that it shows. The page of a stranger may post
to it from its own origin, or give it a name of its own and read the answers as well (DNS
rebinding).
"""

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.types import Scope

from server.errors import HostNotAllowed, OriginNotAllowed, UnsupportedMediaType

_RESERVED_DOMAINS = (".localhost", ".internal")
"""Domains of which no name is in public DNS."""

_FORM_TYPES = (b"text/plain", b"application/x-www-form-urlencoded", b"multipart/form-data")
"""Media types that a page may post to any server, without asking it first."""

_MAX_CACHED = 1000


class BrowserGuard:
    """Refuses requests that a web page of a stranger may have caused.

    Args:
        allowed_hosts: domain names under which the gateway is reached, `*.example.com` for those
            below one; None accepts any, for a gateway that is reached from other machines.
        allowed_origins: origins whose pages may use the gateway, `*` for all.
    """

    def __init__(self, allowed_hosts: Sequence[str] | None, allowed_origins: Sequence[str]) -> None:
        self._allowed_hosts = None if allowed_hosts is None else tuple(allowed_hosts)
        self._allowed_origins = frozenset(allowed_origins)
        self._checked_hosts = set[bytes]()

    def check(self, scope: Scope) -> None:
        """Pass a request, unless its headers give a page away.

        Raises:
            HostNotAllowed: it names the gateway by a name that could be anyone's.
            OriginNotAllowed: a page of another site sent it.
            UnsupportedMediaType: a browser sent it as a form.
        """
        host, origin, site = b"", None, None
        for name, value in scope["headers"]:
            if name == b"host":
                host = value
            elif name == b"origin":
                origin = value
            elif name == b"sec-fetch-site":
                site = value
        if host not in self._checked_hosts:
            self._check_host(host)
        if origin is not None or site is not None:
            self._check_page(scope, host, origin, site)

    def _check_host(self, host: bytes) -> None:
        name = _name_of(host.decode("latin-1"))
        if self._allowed_hosts is not None and not (is_private(name) or self._is_listed(name)):
            raise HostNotAllowed(
                f"this gateway has no API keys and does not answer to '{name[:80]}', a name that "
                "any web site could give it: use its IP address, add the name to allowed_hosts, or "
                "configure API keys"
            )
        if len(self._checked_hosts) < _MAX_CACHED:
            self._checked_hosts.add(host)

    def _is_listed(self, name: str) -> bool:
        listed = self._allowed_hosts or ()
        domains = (pattern[1:] for pattern in listed if pattern.startswith("*."))
        return name in listed or "*" in listed or name.endswith(tuple(domains))

    def _check_page(
        self, scope: Scope, host: bytes, origin: bytes | None, site: bytes | None
    ) -> None:
        if origin is not None:
            self._check_origin(origin.decode("latin-1"), host.decode("latin-1"))
        elif site in (b"cross-site", b"same-site") and scope["method"] not in ("GET", "HEAD"):
            raise _foreign("another site")
        if scope["method"] == "POST":
            kinds = [value for name, value in scope["headers"] if name == b"content-type"]
            if any(kind.strip().lower().startswith(_FORM_TYPES) for kind in kinds):
                raise UnsupportedMediaType(
                    "a browser must send the body with the header 'content-type: application/json'"
                )

    def _check_origin(self, origin: str, host: str) -> None:
        if not self._allowed_origins.isdisjoint((origin, "*")):
            return
        scheme, _, address = origin.lower().partition("://")
        is_page = origin == "null" or scheme in ("http", "https")
        is_local = address == host.lower() or _is_loopback(_name_of(address))
        if is_page and not is_local:
            raise _foreign(origin[:80])


def _foreign(origin: str) -> OriginNotAllowed:
    return OriginNotAllowed(
        f"this gateway has no API keys and does not answer pages of {origin}: add the origin to "
        "cors_origins, or configure API keys"
    )


def is_private(name: str) -> bool:
    """Whether a name cannot be in public DNS, where anyone could point it to this machine."""
    if "." not in name or name.endswith(_RESERVED_DOMAINS):
        return True
    return _address(name) is not None


def _is_loopback(name: str) -> bool:
    address = _address(name)
    return name == "localhost" or (address is not None and address.is_loopback)


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _name_of(authority: str) -> str:
    """The name or address in `host:port`, in lower case; empty where there is none."""
    try:
        return (urlsplit(f"//{authority.strip()}").hostname or "").rstrip(".")
    except ValueError:
        return authority
