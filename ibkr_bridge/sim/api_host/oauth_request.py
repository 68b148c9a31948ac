"""What a signed request says about itself: its `Authorization: OAuth …` header, and the URLs it may have signed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import unquote

PUBLIC_BASE = "https://api.ibkr.com"
NEEDED = ("oauth_consumer_key", "oauth_nonce", "oauth_signature_method", "oauth_timestamp", "oauth_signature")
DEFAULT_PORTS = {"http": ":80", "https": ":443"}


class RefusedError(Exception):
    """IBKR's OAuth layer refuses a request; the message is the text that it answers with."""

    def __init__(self, text: str, status: int = 401) -> None:
        super().__init__(text)
        self.text = text
        self.status = status


@dataclass(frozen=True)
class OAuthRequest:
    """One request with its parameters, percent-escapes resolved; the realm is not among them."""

    method: str
    path: str
    query: str
    host: str
    parameters: Mapping[str, str]

    @property
    def signed_parameters(self) -> dict[str, str]:
        """The parameters that the signature covers."""
        return {name: value for name, value in self.parameters.items() if name != "oauth_signature"}

    def url(self, scheme: str) -> str:
        """The URL that must have been signed: as it was sent, without its query."""
        host = self.host.lower().removesuffix(DEFAULT_PORTS[scheme])
        return f"{scheme}://{host}{self.path}"


def read_authorization(header: str | None, needed: tuple[str, ...] = NEEDED) -> dict[str, str]:
    """The parameters of the header, without the realm.

    Raises:
        RefusedError: it is no OAuth header, a parameter is missing, or one comes twice.
    """
    scheme, _, rest = (header or "").partition(" ")
    if scheme.lower() != "oauth":
        raise RefusedError("no OAuth authorization header")
    parameters: dict[str, str] = {}
    for item in _split_at_commas(rest):
        name, equals, value = (part.strip() for part in item.partition("="))
        if not equals or name in parameters:
            raise RefusedError(f"malformed parameter {name}")
        if len(value) >= 2 and value[0] == value[-1] == '"':
            value = value[1:-1]
        parameters[name] = unquote(value)
    parameters.pop("realm", None)
    for name in needed:
        if not parameters.get(name):
            raise RefusedError(f"missing parameter {name}")
    return parameters


def _split_at_commas(text: str) -> Iterator[str]:
    """The items of the header; a comma between quotes does not separate."""
    start, is_quoted = 0, False
    for index, letter in enumerate(text):
        is_quoted ^= letter == '"'
        if letter == "," and not is_quoted:
            yield text[start:index]
            start = index + 1
    yield text[start:]
