"""What goes out to the bridge, and what is shown to nobody: the key."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ibkr_bridge.client import ClientError
from ibkr_bridge.client.request import MAX_TARGET_BYTES
from tests.client.asking import GOOD, ORDER, READ, asked, client_of
from tests.client.stranger import Stranger, answer, problem, stranger
from tests.harness import KEY
from tests.server.test_request_target import HARMLESS


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
    """Lists with commas, yes and no in small letters, nothing for nothing."""
    with stranger(GOOD) as there, client_of(there.url) as client:
        client.get(path, params)

        assert target_of(there) == sent


def target_of(there: Stranger) -> str:
    """What stood in the request line it was asked last."""
    return there.asked[-1].split(b"\r\n")[0].decode().removeprefix("GET ").removesuffix(" HTTP/1.1")


ODD = [
    "/portfolio/../gateway/./pause",
    "/portfolio/%2e%2E/a",
    "/portfolio/%41%2e%c3%A9",
    "/portfolio//a///",
    "/portfolio/a;b=1\\c",
    "/iserver/secdef/search?symbol=BRK%20B&name=100%25",
    "/iserver/secdef/search?symbol='A|B'{};[C]^`<D>\"\\&a=b+c",
    "/iserver/secdef/search?symbol=http://x:1/y?z",
]


@pytest.mark.parametrize("path", [*HARMLESS, *ODD])
def test_a_path_goes_out_byte_for_byte(path: str) -> None:
    """What the catalogue was asked about is what the bridge gets, for it to judge."""
    with stranger(GOOD) as there, client_of(there.url) as client:
        client.get(path)

        assert target_of(there) == path


@settings(max_examples=150, deadline=None)
@given(path=st.text(st.sampled_from("/%2eE?#&=+;.\\|{}\"' é\t\x7fa~"), max_size=12))
def test_any_path_goes_out_byte_for_byte_or_not_at_all(path: str) -> None:
    """There is nothing in between."""
    with stranger(GOOD) as there, client_of(there.url) as client:
        try:
            client.request("GET", "/" + path)
        except ValueError:
            assert asked(there) == 0
        else:
            assert target_of(there) == "/" + path


SLASH, WORDS, ESCAPE = "a path begins with one slash", "a space as %20", "write a literal one as %25"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        *((path, SLASH) for path in ("", "portfolio", "//evil/x", "http://evil/x", "/a#b", "/a?b#c")),
        *(
            (path, WORDS)
            for path in ("/a b", "/a?b c", "/é", "/a?b=é", "/a\r\nX: y", "/\0", "/a\x7f", "/\u2028", "/\ud800")
        ),
        *((path, ESCAPE) for path in ("/%", "/%zz", "/a%2", "/a?b=100%", "/a?b=BRK%20B&c=100%", "/a?%%25", "/%u00e9")),
        *((path, "longer than the 4000 bytes") for path in ("/" + "a" * 4000, "/a?b=" + "c" * 70_000)),
    ],
)
def test_a_path_that_is_none_is_the_callers_mistake(path: str, said: str) -> None:
    """It is told what to write, and nothing is sent."""
    with stranger(GOOD) as there, client_of(there.url) as client:
        with pytest.raises(ValueError, match=said):
            client.get(path)

        assert asked(there) == 0


def test_the_longest_path_is_as_long_as_the_bridge_takes() -> None:
    """With its query, and the params that become part of it."""
    with stranger(GOOD) as there, client_of(there.url) as client:
        client.get("/a?b=1", {"c": "d" * (MAX_TARGET_BYTES - len("/a?b=1&c="))})
        with pytest.raises(ValueError, match="longer than"):
            client.get("/a?b=1", {"c": "d" * (MAX_TARGET_BYTES - len("/a?b=1&c=") + 1)})

        assert (asked(there), len(target_of(there))) == (1, MAX_TARGET_BYTES)


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
        problem("invalid_key", "401 Unauthorized"),
        answer("200 OK", b"<"),
    ],
)
def test_the_key_shows_nowhere(
    said: bytes, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Not in a repr, an error, a traceback with its variables, nor a log at its loudest."""
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "urllib3")  # whatever another test's program made of it
    with stranger(said) as there:
        client = client_of(there.url)
        try:
            client.get(READ)
        except ClientError as exc:
            shown = "".join([*leaves(exc), repr(client), str(vars(client)), repr(vars(vars(client)["_road"]))])
        client.close()

    assert "connectionpool" in caplog.text  # the loudest log is on
    assert KEY not in shown + caplog.text + "".join(capfd.readouterr())
