"""The requests that the client sends, and that nothing shows its key."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.client import ClientError
from ibkr_bridge.client.request import MAX_TARGET_BYTES
from tests.client.fast_client import GOOD, ORDER, READ, client_of, request_count
from tests.client.scripted_server import ScriptedServer, problem, response, scripted_server
from tests.harness import KEY
from tests.server.test_request_target import HARMLESS


def test_proxy_and_netrc_of_the_machine_are_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No proxy sees the key, and no netrc replaces it."""
    with scripted_server(GOOD) as proxy, scripted_server(GOOD) as server:
        (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password canary-of-netrc\n")
        (tmp_path / "netrc").chmod(0o600)
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        with client_of(server.url) as client:
            client.get(READ)

        assert request_count(proxy) == 0
    assert b"Authorization" not in server.requests[0]
    assert f"X-Bridge-Key: {KEY}\r\n".encode() in server.requests[0]


@pytest.mark.parametrize(
    ("path", "params", "sent"),
    [
        (
            "/iserver/marketdata/snapshot",
            {"conids": [265598, 8314], "fields": ("31", "84")},
            "/iserver/marketdata/snapshot?conids=265598,8314&fields=31,84",
        ),
        (
            "/iserver/secdef/search?name=true",
            {"symbol": "BRK B", "more": None, "x": False, "y": "100%", "z": "é#&"},
            "/iserver/secdef/search?name=true&symbol=BRK+B&x=false&y=100%25&z=%C3%A9%23%26",
        ),
    ],
)
def test_params_are_written_as_ibkr_wants_them(path: str, params: dict[str, object], sent: str) -> None:
    """Lists have commas, booleans are in lower case, and None is left out."""
    with scripted_server(GOOD) as server, client_of(server.url) as client:
        client.get(path, params)

        assert target_of(server) == sent


def target_of(server: ScriptedServer) -> str:
    """The target of the last request."""
    return server.requests[-1].split(b"\r\n")[0].decode().removeprefix("GET ").removesuffix(" HTTP/1.1")


UNUSUAL_PATHS = [
    "/portfolio/../gateway/./pause",
    "/portfolio/%2e%2E/a",
    "/portfolio/%41%2e%c3%A9",
    "/portfolio//a///",
    "/portfolio/a;b=1\\c",
    "/iserver/secdef/search?symbol=BRK%20B&name=100%25",
    "/iserver/secdef/search?symbol='A|B'{};[C]^`<D>\"\\&a=b+c",
    "/iserver/secdef/search?symbol=http://x:1/y?z",
]


@pytest.mark.parametrize("path", [*HARMLESS, *UNUSUAL_PATHS])
def test_a_path_goes_out_byte_for_byte(path: str) -> None:
    """The bridge gets the path that the client looked up in the catalogue."""
    with scripted_server(GOOD) as server, client_of(server.url) as client:
        client.get(path)

        assert target_of(server) == path


@given(path=st.text(st.sampled_from("/%2eE?#&=+;.\\|{}\"' é\t\x7fa~"), max_size=12))
def test_any_path_goes_out_byte_for_byte_or_not_at_all(path: str) -> None:
    """No library changes it on the way."""
    with scripted_server(GOOD) as server, client_of(server.url) as client:
        try:
            client.request("GET", "/" + path)
        except ValueError:
            assert request_count(server) == 0
        else:
            assert target_of(server) == "/" + path


SLASH, CHARACTERS, ESCAPE = "a path must begin with one slash", "a space as %20", "write a literal one as %25"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        *((path, SLASH) for path in ("", "portfolio", "//evil/x", "http://evil/x", "/a#b", "/a?b#c")),
        *(
            (path, CHARACTERS)
            for path in ("/a b", "/a?b c", "/é", "/a?b=é", "/a\r\nX: y", "/\0", "/a\x7f", "/\u2028", "/\ud800")
        ),
        *((path, ESCAPE) for path in ("/%", "/%zz", "/a%2", "/a?b=100%", "/a?b=BRK%20B&c=100%", "/a?%%25", "/%u00e9")),
        *((path, "longer than the 4000 bytes") for path in ("/" + "a" * 4000, "/a?b=" + "c" * 70_000)),
    ],
)
def test_a_malformed_path_is_refused(path: str, message: str) -> None:
    """The message says what to write, and nothing is sent."""
    with scripted_server(GOOD) as server, client_of(server.url) as client:
        with pytest.raises(ValueError, match=message):
            client.get(path)

        assert request_count(server) == 0


def test_the_longest_path_is_as_long_as_the_bridge_accepts() -> None:
    """The limit includes the query with the params."""
    with scripted_server(GOOD) as server, client_of(server.url) as client:
        client.get("/a?b=1", {"c": "d" * (MAX_TARGET_BYTES - len("/a?b=1&c="))})
        with pytest.raises(ValueError, match="longer than"):
            client.get("/a?b=1", {"c": "d" * (MAX_TARGET_BYTES - len("/a?b=1&c=") + 1)})

        assert (request_count(server), len(target_of(server))) == (1, MAX_TARGET_BYTES)


@pytest.mark.parametrize(
    "options",
    [{"wait": -1}, {"wait": float("nan")}, {"wait": float("inf")}, {"request_id": "a\r\nb"}, {"request_id": "x" * 65}],
)
def test_a_wrong_argument_is_refused(options: dict[str, Any]) -> None:
    """Nothing is sent."""
    with scripted_server(GOOD) as server, client_of(server.url) as client:
        with pytest.raises(ValueError, match=r"wait|request id"):
            client.get(READ, **options)

        assert request_count(server) == 0


def test_a_body_is_sent_as_json_or_as_the_given_bytes() -> None:
    """With its length, which a POST without a body must send too."""
    with scripted_server(GOOD) as server, client_of(server.url) as client:
        client.post(ORDER, {"price": 1.5})
        client.post(ORDER, b'{"price":1.50}')
        client.post(ORDER)
        with pytest.raises(ValueError, match="not JSON compliant"):
            client.post(ORDER, {"price": float("nan")})

        bodies = [head.partition(b"\r\n\r\n")[2] for head in server.requests]
    assert bodies == [b'{"price": 1.5}', b'{"price":1.50}', b""]
    assert all(b"Content-Type: application/json\r\n" in head for head in server.requests[:2])
    assert b"Content-Length: 0\r\n" in server.requests[2]


# -- secrets


def texts_of(error: BaseException | None) -> Iterator[str]:
    """All texts of an error and its context: message, attributes, and the traceback with its variables."""
    while error is not None:
        yield from (str(error), repr(error), repr(error.args), repr(vars(error)))
        yield "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
        assert not hasattr(error, "request")
        assert error.__cause__ is None
        error = error.__context__


@pytest.mark.parametrize(
    "script",
    [
        b"",
        b"garbage\r\n",
        GOOD.replace(b"200 OK", b"400 No"),
        problem("invalid_key", "401 Unauthorized"),
        response("200 OK", b"<"),
    ],
)
def test_nothing_shows_the_key(
    script: bytes, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """No repr, no error, no traceback with its variables, and no log at level debug."""
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "urllib3")  # another test may have changed it
    with scripted_server(script) as server:
        client = client_of(server.url)
        try:
            client.get(READ)
        except ClientError as exc:
            shown = "".join([*texts_of(exc), repr(client), str(vars(client)), repr(vars(vars(client)["_transport"]))])
        client.close()

    assert "connectionpool" in caplog.text  # the debug log is on
    assert KEY not in shown + caplog.text + "".join(capfd.readouterr())
