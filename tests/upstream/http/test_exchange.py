"""The errors of an exchange; `test_client.py` and the contract of the upstreams have its course."""

from __future__ import annotations

import ssl

import aiohttp
import pytest

from ibkr_bridge.errors import GatewayUnreachable
from ibkr_bridge.upstream.http.exchange import unreachable_error
from ibkr_bridge.upstream.http.far_side import Wording

WORDING = Wording(
    "the server",
    hints={GatewayUnreachable: "start it"},
    certificate_hint="look at its certificate",
    no_tls_hint="it does not use TLS",
)


@pytest.mark.parametrize(
    ("exc", "detail", "hint"),
    [
        (ConnectionRefusedError(), "nothing listens at the server's address", "start it"),
        (ssl.SSLError(1, "wrong version"), "no TLS connection to the server could be made", "it does not use TLS"),
        (
            ssl.SSLCertVerificationError(1, "unknown"),
            "the server's certificate is not the expected one",
            "look at its certificate",
        ),
        (
            aiohttp.ServerFingerprintMismatch(b"a", b"b", "host", 1),
            "the server's certificate is not the expected one",
            "look at its certificate",
        ),
    ],
)
def test_a_connection_that_cannot_be_opened_has_the_words_of_the_server(exc: Exception, detail: str, hint: str) -> None:
    """A person has to know which server, and what to do there."""
    error = unreachable_error(WORDING, exc)

    assert (type(error), error.detail, error.hint) == (GatewayUnreachable, detail, hint)


def test_without_a_hint_of_its_own_an_error_has_that_of_its_class() -> None:
    """Those are about the Gateway."""
    error = Wording("the Gateway", {}, "", "").error(GatewayUnreachable, "no connection to {name}")

    assert (error.detail, error.hint) == ("no connection to the Gateway", GatewayUnreachable.hint)
