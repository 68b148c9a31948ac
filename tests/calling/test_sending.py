"""What goes out to the bridge, and what is shown to nobody: the key."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ibkr_bridge.client import ClientError
from tests.calling.asking import GOOD, ORDER, READ, asked, client_of
from tests.calling.stranger import answer, problem, stranger
from tests.house import KEY


def test_the_machines_settings_do_not_come_between(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No proxy sees the key, no netrc replaces it."""
    with stranger(GOOD) as proxy, stranger(GOOD) as there:
        (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password canary-of-netrc\n")
        (tmp_path / "netrc").chmod(0o600)
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        with client_of(there.url) as client:
            client.get(READ)

        assert asked(proxy) == 0
    assert b"Authorization" not in there.asked[0]
    assert f"X-Bridge-Key: {KEY}\r\n".encode() in there.asked[0]


@pytest.mark.parametrize(
    ("path", "params", "sent"),
    [
        (
            "/iserver/marketdata/snapshot",
            {"conids": [265598, 8314], "fields": ("31", "84")},
            b"?conids=265598,8314&fields=31,84",
        ),
        (
            "/iserver/secdef/search?name=true",
            {"symbol": "BRK B", "more": None, "x": False},
            b"?name=true&symbol=BRK+B&x=false",
        ),
        ("/iserver/secdef/search?symbol=BRK B", {}, b"?symbol=BRK%20B"),
        ("/portfolio/../gateway/./pause", {}, b"/portfolio/../gateway/./pause "),
        ("/portfolio/%41%2e", {}, b"/portfolio/%41%2E "),
        ("/portfolio/é", {}, b"/portfolio/%C3%A9 "),
    ],
)
def test_a_path_goes_out_as_it_is(path: str, params: dict[str, object], sent: bytes) -> None:
    """What the catalogue was asked about is what the bridge gets, for it to judge; nothing is tidied on the way."""
    with stranger(GOOD) as there, client_of(there.url) as client:
        client.get(path, params)

    assert sent in there.asked[0].split(b"\r\n")[0]


@pytest.mark.parametrize("path", ["", "portfolio", "//evil/x", "http://evil/x", "/a#b", "/a\r\nX: y", "/a\x00"])
def test_a_path_that_is_none_is_the_callers_mistake(path: str) -> None:
    """Nothing is sent."""
    with stranger(GOOD) as there, client_of(there.url) as client:
        with pytest.raises(ValueError, match="a path begins with one slash"):
            client.get(path)

        assert asked(there) == 0


@pytest.mark.parametrize(
    "how",
    [{"wait": -1}, {"wait": float("nan")}, {"wait": float("inf")}, {"request_id": "a\r\nb"}, {"request_id": "x" * 65}],
)
def test_an_argument_that_makes_no_sense_is_the_callers_mistake(how: dict[str, Any]) -> None:
    """Nothing is sent."""
    with stranger(GOOD) as there, client_of(there.url) as client:
        with pytest.raises(ValueError, match=r"wait|request id"):
            client.get(READ, **how)

        assert asked(there) == 0


def test_a_body_is_json_or_bytes_as_they_are() -> None:
    """With the length a POST must say, even when there is none."""
    with stranger(GOOD) as there, client_of(there.url) as client:
        client.post(ORDER, {"price": 1.5})
        client.post(ORDER, b'{"price":1.50}')
        client.post(ORDER)
        with pytest.raises(ValueError, match="not JSON compliant"):
            client.post(ORDER, {"price": float("nan")})

        bodies = [head.partition(b"\r\n\r\n")[2] for head in there.asked]
    assert bodies == [b'{"price": 1.5}', b'{"price":1.50}', b""]
    assert all(b"Content-Type: application/json\r\n" in head for head in there.asked[:2])
    assert b"Content-Length: 0\r\n" in there.asked[2]


# -- secrets


def leaves(error: BaseException | None) -> Iterator[str]:
    """Everything that hangs on an error: its words, its attributes, its causes, the variables of its frames."""
    while error is not None:
        yield from (str(error), repr(error), repr(error.args), repr(vars(error)))
        yield "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
        assert not hasattr(error, "request")
        assert error.__cause__ is None
        error = error.__context__


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"garbage\r\n",
        GOOD.replace(b"200 OK", b"400 No"),
        problem("bad_key", "401 Unauthorized"),
        answer("200 OK", b"<"),
    ],
)
def test_the_key_shows_nowhere(
    said: bytes, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Not in a repr, an error, a traceback with its variables, nor a log at its loudest."""
    caplog.set_level(logging.DEBUG)
    with stranger(said) as there:
        client = client_of(there.url)
        try:
            client.get(READ)
        except ClientError as exc:
            shown = "".join([*leaves(exc), repr(client), str(vars(client)), repr(vars(vars(client)["_road"]))])
        client.close()

    assert "connectionpool" in caplog.text  # the loudest log is on
    assert KEY not in shown + caplog.text + "".join(capfd.readouterr())
