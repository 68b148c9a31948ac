"""What differs from one server to the next: how it is named, and what is added to a call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from multidict import CIMultiDictProxy

from ibkr_bridge.calls.messages import Call, Headers
from ibkr_bridge.errors import GatewayError

RawHeaders = CIMultiDictProxy[str]


@dataclass(frozen=True)
class Wording:
    """How errors name the server, and what a person should do about each of them."""

    name: str
    """Such as "the Gateway"; "'s" can follow."""
    hints: Mapping[type[GatewayError], str]
    """The hint for each class of error; that of the class if one is missing."""
    certificate_hint: str
    no_tls_hint: str

    def error(self, kind: type[GatewayError], detail: str, hint: str | None = None) -> GatewayError:
        """An error of this server.

        Args:
            detail: what happened; `{name}` stands for the server.
        """
        return kind(detail.format(name=self.name), hint=hint or self.hints.get(kind))


class RequestWriter(Protocol):
    """Writes calls for one server, and reads the headers of its responses."""

    def prepare(self, call: Call) -> Callable[[], bytes]:
        """Check a call, and return a function that makes its bytes.

        The function is called in the step in which the bytes leave, when nothing may fail any more.

        Raises:
            ValueError: a header or the target contains a line break.
        """
        ...

    def observe(self, headers: RawHeaders) -> None:
        """Learn from the headers of a response, such as its cookies."""
        ...


def serialise(call: Call, host: str, more: Headers = ()) -> bytes:
    """The bytes of a call: the target unchanged, and Content-Length, which a POST or PUT has even without a body.

    Args:
        more: headers that the upstream adds, such as its cookies.

    Raises:
        ValueError: a header or the target contains a line break; the checks of the server let none through.
    """
    has_length = call.body or call.method in ("POST", "PUT")
    lines = (
        f"{call.method} {call.target} HTTP/1.1",
        f"Host: {host}",
        *(f"{name}: {value}" for name, value in (*call.headers, *more)),
        *((f"Content-Length: {len(call.body)}",) if has_length else ()),
    )
    text = "\r\n".join(lines)
    if text.count("\n") != len(lines) - 1 or text.count("\r") != len(lines) - 1:
        raise ValueError("header or path contains a line break")
    return text.encode("utf-8", "surrogateescape") + b"\r\n\r\n" + call.body  # cookies are returned byte for byte
