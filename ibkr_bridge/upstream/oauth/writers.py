"""Writes calls to IBKR's Web API: with a signature that is made when the call leaves. No cookie is stored or sent."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from ibkr_bridge.calls.header_policy import USER_AGENT
from ibkr_bridge.calls.messages import Call
from ibkr_bridge.upstream.http.far_side import RawHeaders, serialise
from ibkr_bridge.upstream.oauth.access import Access

DEFAULT_PORTS = {"https": 443, "http": 80}


def signed_base(scheme: str, host: str, port: int) -> str:
    """Scheme, host and port as they are signed and sent: in lower case, without the port that is the usual one."""
    name = f"[{host}]" if ":" in host else host
    return f"{scheme}://{name.lower()}" + ("" if DEFAULT_PORTS.get(scheme) == port else f":{port}")


class PlainWriter:
    """Writes calls that have all their headers: a `RequestWriter`.

    Args:
        base: scheme, host and port as they are signed.
    """

    def __init__(self, base: str) -> None:
        self._host = urlsplit(base).netloc

    def prepare(self, call: Call) -> Callable[[], bytes]:
        """See `RequestWriter.prepare`."""
        raw = serialise(call, self._host)
        return lambda: raw

    def observe(self, headers: RawHeaders) -> None:
        """See `RequestWriter.observe`; cookies of IBKR's edge are not stored."""


class SignedWriter:
    """Writes calls that are signed with one access: a `RequestWriter`.

    Args:
        base: scheme, host and port as they are signed.
    """

    def __init__(self, base: str, access: Access) -> None:
        self._base = base
        self._host = urlsplit(base).netloc
        self._access = access

    def prepare(self, call: Call) -> Callable[[], bytes]:
        """See `RequestWriter.prepare`; the signature has the nonce and the time of the moment of sending."""
        path = call.target.partition("?")[0]
        path.encode("ascii")  # else it could not be signed when nothing may fail any more
        authorization = self._access.prepare(call.method, self._base + path)
        has_agent = any(name.lower() == "user-agent" for name, _ in call.headers)
        more = () if has_agent else (("User-Agent", USER_AGENT),)  # IBKR's edge answers 403 to calls without one
        first, _, rest = serialise(call, self._host, more).partition(b"\r\n")
        return lambda: b"".join((first, b"\r\nAuthorization: ", authorization().encode("ascii"), b"\r\n", rest))

    def observe(self, headers: RawHeaders) -> None:
        """See `RequestWriter.observe`; cookies of IBKR's edge are not stored."""
