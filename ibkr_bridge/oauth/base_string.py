"""The texts that are signed, and the header that carries the signature. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

RSA_SHA256, HMAC_SHA256 = "RSA-SHA256", "HMAC-SHA256"
SIGNATURE = "oauth_signature"
UNRESERVED = "-._~"  # besides letters and digits: all that stays bare (RFC 5849, section 3.6)


def percent_encode(text: str) -> str:
    """Percent-encode the UTF-8 of a text."""
    return quote(text, safe=UNRESERVED)


def parameters(
    consumer_key: str, method: str, nonce: str, timestamp: int, *, token: str | None = None, **others: str
) -> dict[str, str]:
    """The parameters of a request. There is no `oauth_version`, and the realm is no part of them.

    Args:
        method: `RSA_SHA256` for a handshake, `HMAC_SHA256` for everything else.
        nonce: letters and digits, another one for each request.
        timestamp: whole seconds since 1970.
        token: the access token or the request token; None before there is one.
        others: such as `diffie_hellman_challenge`.
    """
    own = {
        "oauth_consumer_key": consumer_key,
        "oauth_nonce": nonce,
        "oauth_signature_method": method,
        "oauth_timestamp": str(timestamp),
    }
    return {**own, **({"oauth_token": token} if token is not None else {}), **others}


def base_string(http_method: str, url: str, values: Mapping[str, str], prepend: str = "") -> str:
    """The text that is signed: method, address and parameters.

    Args:
        http_method: in capitals.
        url: without its query: IBKR's documentation leaves the query out, also of the parameters.
        values: the parameters; they are sorted, joined, and encoded once as a whole.
        prepend: the decrypted token secret in hex, for the live session token only; neither encoded nor separated.
    """
    joined = "&".join(f"{name}={values[name]}" for name in sorted(values))
    return f"{prepend}{http_method}&{percent_encode(url)}&{percent_encode(joined)}"


def authorization_header(realm: str, values: Mapping[str, str], signature: bytes) -> str:
    """The value of `Authorization`.

    Args:
        realm: `limited_poa`; `test_realm` for IBKR's test consumer.
        values: the parameters that were signed.
        signature: in Base64, as `signing.py` makes it; it is encoded here, and the other values stay as they are.
    """
    signed = {**values, SIGNATURE: percent_encode(signature.decode("ascii"))}
    pairs = ", ".join(f'{name}="{signed[name]}"' for name in sorted(signed))
    return f'OAuth realm="{realm}", {pairs}'
