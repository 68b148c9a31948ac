"""`bridge.py call`: ask the bridge something from a terminal."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.typed import BAD, BRIDGE, GOOD, KEY, MISCONFIGURED, UNTOLD, Demo, Place, free_port
from tests.client.stranger import answer, problem, stranger

TICKET = {"acctId": "DU1234567", "conid": 265598, "orderType": "MKT", "side": "BUY", "tif": "DAY", "quantity": 1}
ORDER = json.dumps({"orders": [TICKET]})
ORDERS = "/iserver/account/DU1234567/orders"


@pytest.mark.parametrize(("method", "path"), [("GET", "/portfolio/accounts"), ("get", "/v1/api/portfolio/accounts")])
def test_a_good_answer(place: Place, running: Demo, method: str, path: str) -> None:
    """In lines for people, on one line for programs."""
    words, data = place.both("call", method, path, **running.env)

    assert (words.returncode, words.stderr, data.returncode, data.stderr) == (GOOD, "", GOOD, "")
    assert json.loads(words.stdout) == json.loads(data.stdout) == running.get(path).json()
    assert words.stdout.startswith('[\n  {\n    "id": "DU1234567"')
    assert data.stdout.startswith('[{"id":"DU1234567"')
    assert data.stdout.count("\n") == 1


def test_a_body_comes_from_the_line_a_file_or_a_pipe(place: Place, running: Demo, tmp_path: Path) -> None:
    """As curl takes it."""
    (tmp_path / "order.json").write_text(ORDER)
    command = [sys.executable, str(BRIDGE), "call", "POST", ORDERS, "--json", "--wait", "5", "--data"]
    env = {**place.env, **running.env}

    told = [
        subprocess.run([*command, data], cwd=place.home, env=env, input=given, capture_output=True, check=True)
        for data, given in ((ORDER, b""), (f"@{tmp_path / 'order.json'}", b""), ("-", ORDER.encode()))
    ]

    assert [json.loads(each.stdout)[0]["order_status"] for each in told] == ["Submitted"] * 3


def test_a_refusal_is_told_in_words_and_as_one_object(place: Place, running: Demo) -> None:
    """What happened, what to do, where to look."""
    words, data = place.both("call", "GET", "/trsrv/stocks?symbols=AAPL", **running.env)

    told = json.loads(data.stdout)
    assert (words.returncode, data.returncode) == (BAD, BAD)
    assert words.stdout == ""
    assert words.stderr.startswith("not_bridged (404): /trsrv is not open on this bridge\n")
    assert "hint        add trsrv to IBKR_BRIDGE_EXTRA_PREFIXES to open it" in words.stderr
    assert "request id  " in words.stderr
    assert (told["code"], told["status"], told["error"]) == ("not_bridged", 404, told["detail"])
    assert told["request_id"]
    assert data.stderr == ""


def test_waiting_that_helps_is_told(place: Place, running: Demo) -> None:
    """And is left to the person: a command does not sit there in silence."""
    running.pull("POST", "/faults", kind="sso-lost")

    words, data = place.both("call", "GET", "/portfolio/accounts", **running.env)

    told = json.loads(data.stdout)
    assert (words.returncode, data.returncode) == (BAD, BAD)
    assert f"try again   in {told['retry_after']:g} seconds" in words.stderr
    assert (told["code"], told["retryable"]) == ("session_unavailable", True)


def test_what_ibkr_answers_is_printed_whatever_it_is(place: Place, running: Demo) -> None:
    """Its body is the answer, and the status is no good one."""
    words, data = place.both("call", "POST", ORDERS, "--data", '{"orders":[{"conid":1}]}', **running.env)

    assert (words.returncode, data.returncode) == (BAD, BAD)
    said = {"error": "Bad Request: orderType, side or conid"}
    assert json.loads(words.stdout) == json.loads(data.stdout)["answer"] == said
    assert words.stderr.startswith("ibkr_error (500): IBKR answered 500")


def test_what_is_no_json_is_printed_as_it_is(place: Place) -> None:
    """Bytes are bytes; a program gets a text."""
    with stranger(answer("200 OK", b"\x00\xff\nbytes")) as there:
        env = {**place.env, "IBKR_BRIDGE_URL": there.url, "IBKR_BRIDGE_KEY": KEY}
        command = [sys.executable, str(BRIDGE), "call", "GET", "/portfolio/accounts"]
        words = subprocess.run(command, cwd=place.home, env=env, capture_output=True, check=True)
        data = subprocess.run([*command, "--json"], cwd=place.home, env=env, capture_output=True, check=True)

    assert words.stdout == b"\x00\xff\nbytes"
    assert json.loads(data.stdout) == "\x00�\nbytes"


@pytest.mark.parametrize(
    ("body", "words", "data"),
    [
        (b"", "", "null\n"),
        (b'{"a":"\\ud800"}', '{\n  "a": "\\ud800"\n}\n', '{"a":"\\ud800"}\n'),
        ('{"a":"é"}'.encode(), '{\n  "a": "é"\n}\n', '{"a":"\\u00e9"}\n'),
    ],
)
def test_odd_json_is_no_trouble(place: Place, body: bytes, words: str, data: str) -> None:
    """Nothing at all, half a character, a foreign one."""
    with stranger(answer("200 OK", body)) as there:
        env = {"IBKR_BRIDGE_URL": there.url, "IBKR_BRIDGE_KEY": KEY, "PYTHONIOENCODING": "utf-8"}
        told = list(place.both("call", "GET", "/portfolio/accounts", **env))

    assert [each.returncode for each in told] == [GOOD, GOOD]
    assert [each.stdout for each in told] == [words, data]


@pytest.mark.parametrize("depth", [600, 930, 960, 975, 5000])
def test_json_too_deep_to_be_written_again_is_printed_as_it_came(place: Place, depth: int) -> None:
    """Reading and writing give up at depths of their own."""
    body = b"[" * depth + b"]" * depth
    with stranger(answer("200 OK", body)) as there:
        told = list(place.both("call", "GET", "/x", IBKR_BRIDGE_URL=there.url, IBKR_BRIDGE_KEY=KEY))

    assert [(each.returncode, each.stderr) for each in told] == [(GOOD, "")] * 2
    assert ["".join(each.stdout.split()).strip('"') for each in told] == [body.decode()] * 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("PATCH", "/portfolio/accounts"), "invalid choice: 'PATCH' (choose from"),
        (("GET", "portfolio/accounts"), "a path begins with one slash"),
        (("GET", "/a#b"), "a path begins with one slash"),
        (("POST", "/portfolio/allocation", "--data", "{"), "--data is no JSON"),
        (("POST", "/portfolio/allocation", "--data", "@/nowhere/x.json"), "/nowhere/x.json cannot be read"),
        (("GET", "/portfolio/accounts", "--wait", "nan"), "wait is a number of seconds"),
        (("GET", "/portfolio/accounts", "--wait", "soon"), "--wait: invalid float value: 'soon'"),
        (("GET",), "the following arguments are required: PATH"),
    ],
)
def test_a_call_that_cannot_be_made_is_explained(place: Place, words: tuple[str, ...], said: str) -> None:
    """Before anything is sent, and without a traceback."""
    told = place.run("call", *words, IBKR_BRIDGE_KEY=KEY, IBKR_BRIDGE_URL=f"http://127.0.0.1:{free_port()}")

    assert (told.returncode, told.stdout) == (BAD, "")
    assert said in told.stderr
    assert "Traceback" not in told.stderr


def test_nobody_there_is_said(place: Place) -> None:
    """With the address and what to do."""
    url = f"http://127.0.0.1:{free_port()}"

    words, data = place.both("call", "GET", "/portfolio/accounts", IBKR_BRIDGE_URL=url, IBKR_BRIDGE_KEY=KEY)

    assert (words.returncode, data.returncode) == (BAD, BAD)
    assert words.stderr.startswith(f"bridge_unreachable: nothing answers at {url}\n  hint        start the bridge")
    assert json.loads(data.stdout)["status"] is None


def test_a_wrong_key_is_said_in_a_persons_words(place: Place, running: Demo) -> None:
    """The bridge's own hint tells programs which header to send; a person has to know which key."""
    told = place.run("call", "GET", "/portfolio/accounts", **{**running.env, "IBKR_BRIDGE_KEY": KEY})

    assert told.returncode == BAD
    assert "the bridge knows another key" in told.stderr
    assert KEY not in told.stderr


def test_no_key_ends_with_78(place: Place) -> None:
    """As for every command."""
    words, data = place.both("call", "GET", "/portfolio/accounts")

    assert (words.returncode, data.returncode) == (MISCONFIGURED, MISCONFIGURED)
    assert "IBKR_BRIDGE_KEY: not set" in words.stderr
    assert "IBKR_BRIDGE_KEY" in json.loads(data.stdout)["problems"][0]


FULL = Path("/dev/full")  # takes nothing, as a disk that is full
ACCEPTED = answer("200 OK", b'[{"order_id":"1"}]', "X-Request-ID: mine-1", source="gateway")
NO = answer("500 Internal Server Error", b'{"error":"no such order"}', "X-Request-ID: mine-1", source="gateway")
PAUSED = problem("trading_paused", "403 Forbidden", "X-Request-ID: mine-1")


def told_to(out: Path, place: Place, url: str, *words: str) -> subprocess.CompletedProcess[bytes]:
    """A call whose answer goes into a file."""
    env = {**place.env, "IBKR_BRIDGE_URL": url, "IBKR_BRIDGE_KEY": KEY}
    with out.open("wb") as into:
        command = [sys.executable, str(BRIDGE), "call", *words]
        return subprocess.run(command, cwd=place.home, env=env, stdout=into, stderr=subprocess.PIPE, check=False)


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("more", [(), ("--json",)])
@pytest.mark.parametrize(
    ("said", "lines"),
    [
        (ACCEPTED, ["the call was answered (200)"]),
        (NO, ["ibkr_error (500): IBKR answered 500: no such order", "the call was answered (500)"]),
    ],
)
def test_an_answer_that_cannot_be_written_is_told_in_words(
    place: Place, said: bytes, lines: list[str], more: tuple[str, ...]
) -> None:
    """The order was placed: a traceback and a plain 1 would have it sent again."""
    with stranger(said) as there:
        told = told_to(FULL, place, there.url, "POST", ORDERS, "--data", ORDER, *more)

        assert len(there.asked) == 1
    said_instead = told.stderr.decode()
    assert told.returncode == UNTOLD
    assert all(line in said_instead for line in lines)
    assert "standard output cannot be written: No space left on device" in said_instead
    assert "request id  " in said_instead
    assert "Traceback" not in said_instead
    assert "Exception ignored" not in said_instead


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize(
    ("said", "lines"),
    [
        (
            b"",
            ["order_unknown: ", "may have happened", "do not send it again", "the call was not answered, and standard"],
        ),
        (PAUSED, ["trading_paused (403): it was so", "the call was answered (403), but standard"]),
    ],
)
def test_an_error_that_cannot_be_written_as_json_is_told_in_words(place: Place, said: bytes, lines: list[str]) -> None:
    """Somewhere a person has to find it."""
    with stranger(said) as there:
        told = told_to(FULL, place, there.url, "POST", ORDERS, "--data", ORDER, "--json")

    assert told.returncode == UNTOLD
    assert all(line in told.stderr.decode() for line in lines)


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
def test_settings_that_cannot_be_complained_of_as_json_are_in_words(place: Place) -> None:
    """Nothing was asked."""
    with FULL.open("wb") as into:
        command = [sys.executable, str(BRIDGE), "call", "GET", "/x", "--json"]
        told = subprocess.run(command, cwd=place.home, env=place.env, stdout=into, stderr=subprocess.PIPE, check=False)

    assert told.returncode == UNTOLD
    assert b"IBKR_BRIDGE_KEY: not set" in told.stderr
    assert b"Traceback" not in told.stderr


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
def test_a_refusal_that_is_told_on_the_other_side_is_told(place: Place) -> None:
    """Nothing was to be written but words."""
    with stranger(PAUSED) as there:
        told = told_to(FULL, place, there.url, "POST", ORDERS, "--data", ORDER)

    assert told.returncode == BAD
    assert told.stderr.startswith(b"trading_paused (403): it was so\n")


def test_an_output_that_is_closed_is_one_that_cannot_be_written(place: Place) -> None:
    """As `>&-` leaves it."""
    with stranger(ACCEPTED) as there:
        env = {**place.env, "IBKR_BRIDGE_URL": there.url, "IBKR_BRIDGE_KEY": KEY}
        words = [sys.executable, str(BRIDGE), "call", "POST", ORDERS, "--data", ORDER]
        command = ["sh", "-c", 'exec "$@" >&-', "sh", *words]
        told = subprocess.run(command, cwd=place.home, env=env, stderr=subprocess.PIPE, check=False)

    assert told.returncode == UNTOLD
    assert b"the call was answered (200), but standard output cannot be written" in told.stderr
    assert b"request id  mine-1" in told.stderr


def test_help_explains_the_exit_status(place: Place) -> None:
    """For scripts."""
    told = place.run("call", "--help")

    assert told.returncode == GOOD
    assert all(f"\n  {status:<3} " in told.stdout for status in (GOOD, BAD, UNTOLD, MISCONFIGURED))


@pytest.mark.parametrize(("method", "complains"), [("GET", False), ("POST", True)])
def test_a_reader_who_has_seen_enough_is_no_trouble(place: Place, method: str, complains: bool) -> None:
    """`call … | head` ends without a traceback; somebody who placed an order is told that it was answered."""
    with stranger(answer("200 OK", b"[" + b"1," * 999_999 + b"1]")) as there:
        command = [sys.executable, str(BRIDGE), "call", method, "/portfolio/accounts"]
        env = {**place.env, "IBKR_BRIDGE_URL": there.url, "IBKR_BRIDGE_KEY": KEY}
        with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.read(1)
            process.stdout.close()
            said = process.stderr.read()

    assert process.returncode == UNTOLD
    assert (b"the call was answered (200)" in said) is bool(said) is complains
