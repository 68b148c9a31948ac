"""Whatever stands at the bridge's address: a caller is told what it is, and nothing is sent twice that must not be."""

from __future__ import annotations

import gzip
import logging
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from requests.adapters import HTTPAdapter

from ibkr_bridge.client import (
    BridgeClient,
    BridgeCutOff,
    BridgeSilent,
    BridgeUnreachable,
    ClientError,
    IbkrSaidNo,
    Malformed,
    NoAnswer,
    NotJson,
    NotNow,
    NotThisBridge,
    OrderUnknown,
)
from tests.calling.stranger import HANG, OURS, HandClock, Stranger, answer, problem, stranger
from tests.cli.typed import free_port
from tests.house import KEY

READ, ORDER = "/portfolio/accounts", "/iserver/account/DU1234567/orders"
GOOD = answer("200 OK", b"[1]", source="gateway")
SHORT = 0.2  # seconds; for answers that never come
NO_READS = [
    ("POST", ORDER),
    ("DELETE", "/iserver/account/DU1234567/order/1"),
    ("PUT", "/iserver/account/allocation/group"),
    ("POST", "/iserver/secdef/search"),
    ("POST", "/gateway/reconnect"),
    ("GET", "/iserver/reauthenticate"),
    ("GET", "/iserver/marketdata/unsubscribeall"),
    ("GET", "/v1/api/iserver/marketdata/unsubscribeall/"),
    ("GET", "/marketdata/265598/unsubscribe"),
    ("GET", "/md/regsnapshot?conid=265598"),
    ("GET", "/logout"),
    ("GET", "/iserver/something/nobody/knows"),
]


def client_of(url: str, clock: HandClock | None = None, **how: Any) -> BridgeClient:
    """A client whose pauses take no time."""
    clock = clock or HandClock()
    return BridgeClient(url, KEY, clock=clock, sleep=clock.sleep, **how)


def asked(there: Stranger) -> int:
    """How often."""
    return len(there.asked)


# -- a good answer


@pytest.mark.parametrize(
    ("said", "read"),
    [
        (answer("200 OK", b'{"a": 1}'), {"a": 1}),
        (answer("200 OK", b"[]"), []),
        (answer("200 OK", b'"text"'), "text"),
        (answer("200 OK", b"null"), None),
        (answer("204 No Content", b""), None),
        (answer("200 OK", b""), None),
        (answer("200 OK", gzip.compress(b"[" + b"1," * 99_999 + b"1]"), "Content-Encoding: gzip"), [1] * 100_000),
        (b"HTTP/1.1 200 OK\r\n" + OURS + b"Transfer-Encoding: chunked\r\n\r\n2\r\n[1\r\n1\r\n]\r\n0\r\n\r\n", [1]),
    ],
)
def test_a_good_answer_is_read_however_it_is_written(said: bytes, read: object) -> None:
    """Nothing, no object, packed, in pieces."""
    with stranger(said) as there, client_of(there.url) as client:
        assert client.get(READ) == read


def test_a_good_answer_that_is_no_json_is_an_error_of_its_own() -> None:
    """With the answer in it, for whoever can read it."""
    page = answer("200 OK", b"<html>", "Content-Type: text/html", source="gateway")
    with stranger(page) as there, client_of(there.url) as client:
        assert client.request("GET", READ).body == b"<html>"

        with pytest.raises(NotJson, match=r"no JSON \(text/html\)") as told:
            client.get(READ)

    assert (told.value.code, told.value.status, told.value.body) == ("not_json", 200, b"<html>")


def test_a_json_bomb_is_no_json() -> None:
    """A parser that gives up is no reason to fall."""
    with stranger(answer("200 OK", b"[" * 200_000)) as there, client_of(there.url) as client, pytest.raises(NotJson):
        client.get(READ)


# -- no answer of this bridge


def test_nobody_there_is_said_and_not_asked_again() -> None:
    """Nothing was sent, so an order may be sent again later."""
    with client_of(f"http://127.0.0.1:{free_port()}") as client, pytest.raises(BridgeUnreachable) as told:
        client.post(ORDER, {})

    assert (told.value.code, told.value.status, told.value.retryable) == ("bridge_unreachable", None, True)
    assert "start the bridge" in told.value.hint
    assert told.value.request_id


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>",
        b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_another_program_on_the_port_is_said(said: bytes, method: str) -> None:
    """Port 8000 is popular. It is asked once: what it says is not about us."""
    with stranger(said) as there, client_of(there.url) as client:
        with pytest.raises(NotThisBridge, match="is not this bridge") as told:
            client.request(method, READ)

        assert asked(there) == 1
    assert (told.value.code, told.value.retryable, told.value.status) == ("not_this_bridge", False, None)


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"])
@pytest.mark.parametrize("ours", [OURS, b"Connection: close\r\n"])
@pytest.mark.parametrize("place", ["{}/elsewhere", "http://[", "//\x80"])
def test_no_redirect_is_followed(status: str, ours: bytes, place: str) -> None:
    """The key goes to one address alone."""
    with stranger(GOOD) as elsewhere:
        to = place.format(elsewhere.url).encode("latin-1")
        moved = b"HTTP/1.1 %s\r\n%sLocation: %s\r\nContent-Length: 0\r\n\r\n" % (status.encode(), ours, to)
        with stranger(moved) as there, client_of(there.url) as client:
            with pytest.raises(ClientError):
                client.get(READ)

            assert asked(there) == 1
        assert asked(elsewhere) == 0


def test_a_read_that_gets_no_answer_ends_with_its_deadline() -> None:
    """In the caller's time, not in the system's."""
    with stranger(HANG) as there, BridgeClient(there.url, KEY, timeout=SHORT) as client:
        with pytest.raises(BridgeSilent, match="does not answer in time") as told:
            client.get(READ)

        assert asked(there) == 1
    assert (told.value.code, told.value.status, told.value.retryable) == ("bridge_silent", None, True)


@pytest.mark.parametrize(
    "begun", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n" + OURS + b"Content-Length: 9\r\n\r\n[1,"]
)
def test_an_answer_that_stops_in_the_middle_ends_too(begun: bytes) -> None:
    """In its head, in its body."""
    with (
        stranger(begun + HANG) as there,
        BridgeClient(there.url, KEY, timeout=SHORT) as client,
        pytest.raises(BridgeSilent),
    ):
        client.get(READ)


def test_a_body_that_flows_for_ever_ends_with_the_deadline() -> None:
    """Each piece came in time; all of it would not."""
    clock = HandClock()

    def ticking() -> float:
        clock.now += 30.0
        return clock.now

    endless = b"HTTP/1.1 200 OK\r\n" + OURS + b"\r\n" + b"x" * 3_000_000
    with (
        stranger(endless) as there,
        BridgeClient(there.url, KEY, clock=ticking, sleep=clock.sleep) as client,
        pytest.raises(BridgeSilent),
    ):
        client.get(READ)


# -- what is asked again, and what never is


BROKEN = [
    b"",
    b"HTTP/1.1 200 OK\r\n" + OURS + b"Content-Length: 9\r\n\r\n[1,",
    b"HTTP/1.1 200 OK\r\n" + OURS + b"Transfer-Encoding: chunked\r\n\r\n5\r\n[1,2",
    b"HTTP/1.1 200 OK\r\n" + OURS + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    answer("200 OK", b"no gzip", "Content-Encoding: gzip"),
]


@pytest.mark.parametrize("broken", BROKEN)
def test_a_read_whose_answer_breaks_off_is_asked_again_at_once(broken: bytes) -> None:
    """It can do no harm, and a restart of the bridge is not the caller's business."""
    clock = HandClock()
    with stranger(broken, GOOD) as there, client_of(there.url, clock) as client:
        assert client.get(READ) == [1]

        assert asked(there) == 2
    assert clock.slept == [0.0]


@pytest.mark.parametrize("broken", BROKEN)
def test_it_is_asked_three_times_and_no_more(broken: bytes) -> None:
    """Then somebody has to be told."""
    with stranger(broken) as there, client_of(there.url) as client:
        with pytest.raises(BridgeCutOff) as told:
            client.get(READ)

        assert asked(there) == 3
    assert (told.value.code, told.value.retryable) == ("bridge_cut_off", True)


@pytest.mark.parametrize(("method", "path"), NO_READS)
def test_whatever_may_have_an_effect_is_sent_once(method: str, path: str) -> None:
    """Neither a broken connection nor a Retry-After sends it again."""
    for said in (b"", problem("busy", "503 Service Unavailable", "Retry-After: 1", retryable=True)):
        clock = HandClock()
        with stranger(said, GOOD) as there, client_of(there.url, clock) as client:
            with pytest.raises(ClientError):
                client.request(method, path, {} if method in ("POST", "PUT") else None)

            assert (asked(there), clock.slept) == (1, [])


@pytest.mark.parametrize("broken", [*BROKEN, HANG])
@pytest.mark.parametrize(("method", "path"), NO_READS[:3])
def test_a_change_whose_answer_is_lost_is_unknown(broken: bytes, method: str, path: str) -> None:
    """It may have happened. That is a class of its own, so that nobody sends it again."""
    timeout = SHORT if broken == HANG else None
    with stranger(broken) as there, BridgeClient(there.url, KEY, timeout=timeout) as client:
        with pytest.raises(OrderUnknown, match="may have happened") as told:
            client.request(method, path)

        assert asked(there) == 1
    assert not isinstance(told.value, NoAnswer)
    assert (told.value.code, told.value.retryable, told.value.retry_after) == ("order_unknown", False, None)
    assert told.value.hint.startswith("do not send it again")
    assert f"X-Request-ID: {told.value.request_id}\r\n".encode() in there.asked[0]


def test_a_read_that_cannot_be_harmful_but_is_not_listed_as_safe_is_cut_off_not_unknown() -> None:
    """Only what changes something can be unknown."""
    with stranger(b"") as there, client_of(there.url) as client, pytest.raises(BridgeCutOff):
        client.post("/iserver/secdef/search", {"symbol": "AAPL"})


# -- Retry-After


def test_a_read_waits_as_long_as_it_is_told() -> None:
    """And is asked again then."""
    clock = HandClock()
    busy = problem("busy", "503 Service Unavailable", "Retry-After: 3", retryable=True)
    with stranger(busy, busy, GOOD) as there, client_of(there.url, clock) as client:
        assert client.get(READ) == [1]

        assert asked(there) == 3
    assert clock.slept == [3.0, 3.0]


def test_a_date_is_a_time_to_wait_until() -> None:
    """HTTP allows both; one that has passed means now."""
    past = problem("paced", "429 Too Many Requests", "Retry-After: Wed, 21 Oct 2015 07:28:00 GMT", retryable=True)
    clock = HandClock()
    with stranger(past, GOOD) as there, client_of(there.url, clock) as client:
        assert client.get(READ) == [1]
    assert clock.slept == [0.0]


@pytest.mark.parametrize(
    ("header", "told_as"),
    [("99999", 99999.0), ("9" * 400, 1e9), ("soon", None), ("-1", None), ("1.5", None), ("²", None), ("", None)],
)
def test_a_time_that_does_not_fit_is_told_not_slept(header: str, told_as: float | None) -> None:
    """The caller's deadline counts, and what cannot be read is no time at all."""
    clock = HandClock()
    paced = problem("paced", "429 Too Many Requests", f"Retry-After: {header}", retryable=True)
    with stranger(paced, GOOD) as there, client_of(there.url, clock) as client:
        with pytest.raises(NotNow) as told:
            client.get(READ)

        assert (asked(there), clock.slept) == (1, [])
    assert (told.value.retry_after, told.value.retryable) == (told_as, True)


def test_the_deadline_counts_all_attempts_and_pauses() -> None:
    """A pause that would end after it is not begun."""
    clock = HandClock()
    busy = problem("busy", "503 Service Unavailable", "Retry-After: 6", retryable=True)
    with stranger(busy) as there, client_of(there.url, clock, timeout=10) as client:
        with pytest.raises(NotNow):
            client.get(READ)

        assert (asked(there), clock.slept) == (2, [6.0])


def test_a_refusal_that_no_waiting_mends_is_told_at_once() -> None:
    """Even with a Retry-After."""
    clock = HandClock()
    bad = problem("bad_path", "400 Bad Request", "Retry-After: 1")
    with stranger(bad, GOOD) as there, client_of(there.url, clock) as client:
        with pytest.raises(Malformed):
            client.get(READ)

        assert asked(there) == 1


def test_what_ibkr_asks_to_wait_for_is_waited_for_too() -> None:
    """A 503 with a Retry-After, whoever says it."""
    clock = HandClock()
    down = answer("503 Service Unavailable", b'{"error":"DU1234567 is busy"}', "Retry-After: 2", source="gateway")
    with stranger(down, GOOD) as there, client_of(there.url, clock) as client:
        assert client.get(READ) == [1]
    with stranger(down) as there, client_of(there.url, repeats=0) as client, pytest.raises(IbkrSaidNo) as told:
        client.get(READ)

    assert clock.slept == [2.0]
    assert told.value.body == b'{"error":"DU1234567 is busy"}'
    assert "DU*****67 is busy" in str(told.value)


def test_whoever_wants_no_repeats_gets_none() -> None:
    """A person at a terminal, a web page."""
    with stranger(b"", GOOD) as there, client_of(there.url, repeats=0) as client:
        with pytest.raises(BridgeCutOff):
            client.get(READ)

        assert asked(there) == 1


# -- what is sent


def test_a_wait_is_asked_for_and_added_to_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bridge waits so long before it sends anything; we must not hang up before."""
    told: list[float] = []
    really = HTTPAdapter.send

    def send(*args: Any, **how: Any) -> Any:
        told.append(how["timeout"][1])
        return really(*args, **how)

    monkeypatch.setattr(HTTPAdapter, "send", send)
    monkeypatch.setenv("IBKR_BRIDGE_MAX_WAIT", "7")
    monkeypatch.setenv("IBKR_GATEWAY_TIMEOUT", "20")
    with stranger(GOOD) as there, client_of(there.url) as client:
        client.get(READ)
        client.get(READ, wait=20)
        client.get(READ, wait=900)

        heads = [b"X-Bridge-Wait: 20.000\r\n" in head for head in there.asked]
        capped = b"X-Bridge-Wait: 60.000\r\n" in there.asked[2]
    assert told == [117.0, 137.0, 177.0]  # 7 for the turn, 5 to connect, 20 for the head, 80 for the body, and 5
    assert (heads, capped) == ([False, True, False], True)


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


def test_time_is_the_machines_where_nobody_says_otherwise() -> None:
    """The defaults sleep and count for real."""
    with BridgeClient("http://127.0.0.1:1", KEY) as client:
        assert (client._clock, client._sleep) == (time.monotonic, time.sleep)
