"""`bridge.py call`: send the bridge one call from a terminal."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.command_runner import (
    BRIDGE,
    EXIT_FAILURE,
    EXIT_MISCONFIGURED,
    EXIT_OK,
    EXIT_OUTPUT_FAILED,
    KEY,
    Demo,
    Place,
    free_port,
)
from tests.client.scripted_server import problem, response, scripted_server

TICKET = {"acctId": "DU1234567", "conid": 265598, "orderType": "MKT", "side": "BUY", "tif": "DAY", "quantity": 1}
ORDER = json.dumps({"orders": [TICKET]})
ORDERS = "/iserver/account/DU1234567/orders"


@pytest.mark.parametrize(("method", "path"), [("GET", "/portfolio/accounts"), ("get", "/v1/api/portfolio/accounts")])
def test_a_good_response(place: Place, running: Demo, method: str, path: str) -> None:
    """JSON on several lines for people, on one line for programs."""
    words, data = place.both("call", method, path, **running.env)

    assert (words.returncode, words.stderr, data.returncode, data.stderr) == (EXIT_OK, "", EXIT_OK, "")
    assert json.loads(words.stdout) == json.loads(data.stdout) == running.get(path).json()
    assert words.stdout.startswith('[\n  {\n    "id": "DU1234567"')
    assert data.stdout.startswith('[{"id":"DU1234567"')
    assert data.stdout.count("\n") == 1


def test_a_body_comes_from_the_command_line_a_file_or_a_pipe(place: Place, running: Demo, tmp_path: Path) -> None:
    """As with curl."""
    (tmp_path / "order.json").write_text(ORDER)
    command = [sys.executable, str(BRIDGE), "call", "POST", ORDERS, "--json", "--wait", "5", "--data"]
    env = {**place.env, **running.env}

    result = [
        subprocess.run([*command, data], cwd=place.home, env=env, input=piped, capture_output=True, check=True)
        for data, piped in ((ORDER, b""), (f"@{tmp_path / 'order.json'}", b""), ("-", ORDER.encode()))
    ]

    assert [json.loads(each.stdout)[0]["order_status"] for each in result] == ["Submitted"] * 3


def test_a_refusal_is_printed_as_text_and_as_one_object(place: Place, running: Demo) -> None:
    """What happened, what to do, and the request id for the log."""
    words, data = place.both("call", "GET", "/trsrv/stocks?symbols=AAPL", **running.env)

    result = json.loads(data.stdout)
    assert (words.returncode, data.returncode) == (EXIT_FAILURE, EXIT_FAILURE)
    assert words.stdout == ""
    assert words.stderr.startswith("not_bridged (404): /trsrv is not open on this bridge\n")
    assert "hint        add trsrv to IBKR_BRIDGE_EXTRA_PREFIXES to open it" in words.stderr
    assert "request id  " in words.stderr
    assert (result["code"], result["status"], result["error"]) == ("not_bridged", 404, result["detail"])
    assert result["request_id"]
    assert data.stderr == ""


def test_a_refusal_names_the_wait_that_helps(place: Place, running: Demo) -> None:
    """The command does not wait itself; the person decides."""
    running.control("POST", "/faults", kind="sso-lost")

    words, data = place.both("call", "GET", "/portfolio/accounts", **running.env)

    result = json.loads(data.stdout)
    assert (words.returncode, data.returncode) == (EXIT_FAILURE, EXIT_FAILURE)
    assert f"try again   in {result['retry_after']:g} seconds" in words.stderr
    assert (result["code"], result["retryable"]) == ("session_unavailable", True)


def test_an_error_response_of_ibkr_is_printed_unchanged(place: Place, running: Demo) -> None:
    """Its body goes to standard output, and the exit status is 1."""
    words, data = place.both("call", "POST", ORDERS, "--data", '{"orders":[{"conid":1}]}', **running.env)

    assert (words.returncode, data.returncode) == (EXIT_FAILURE, EXIT_FAILURE)
    answer = {"error": "Bad Request: orderType, side or conid"}
    assert json.loads(words.stdout) == json.loads(data.stdout)["answer"] == answer
    assert words.stderr.startswith("ibkr_error (500): IBKR answered 500")


def test_a_body_that_is_not_json_is_printed_unchanged(place: Place) -> None:
    """A person gets the bytes; with `--json` a program gets a string."""
    with scripted_server(response("200 OK", b"\x00\xff\nbytes")) as server:
        env = {**place.env, "IBKR_BRIDGE_URL": server.url, "IBKR_BRIDGE_KEY": KEY}
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
        (
            '{"a":"\x7f\x9b\u202e"}'.encode(),
            '{\n  "a": "\\u007f\\u009b\\u202e"\n}\n',
            '{"a":"\\u007f\\u009b\\u202e"}\n',
        ),
    ],
)
def test_unusual_json_is_printed(place: Place, body: bytes, words: str, data: str) -> None:
    """An empty body, half of a surrogate pair, a character beyond ASCII."""
    with scripted_server(response("200 OK", body)) as server:
        env = {"IBKR_BRIDGE_URL": server.url, "IBKR_BRIDGE_KEY": KEY, "PYTHONIOENCODING": "utf-8"}
        result = list(place.both("call", "GET", "/portfolio/accounts", **env))

    assert [each.returncode for each in result] == [EXIT_OK, EXIT_OK]
    assert [each.stdout for each in result] == [words, data]


def test_a_terminal_gets_no_control_character_of_a_page(place: Place) -> None:
    """A pipe gets the page unchanged (see above); on a terminal it could hide what was printed before."""
    ours, theirs = pty.openpty()
    with scripted_server(response("200 OK", b"<p>\x1b[2J\xc2\x9b31m\n\tend")) as server:
        words = [sys.executable, str(BRIDGE), "call", "GET", "/portfolio/accounts"]
        env = {**place.env, "IBKR_BRIDGE_URL": server.url, "IBKR_BRIDGE_KEY": KEY}
        subprocess.run(words, cwd=place.home, env=env, stdout=theirs, timeout=20, check=True)
    shown = os.read(ours, 1000)
    os.close(ours)
    os.close(theirs)

    assert shown == b"<p>\\x1b[2J\\x9b31m\r\n\tend"


def test_the_words_of_a_refusal_have_no_control_character(place: Place) -> None:
    """The texts come from another program, which need not be the bridge."""
    body = json.dumps({"code": "busy", "detail": "no\x1b[2J\nforged", "hint": "wait\x9b"}).encode()
    with scripted_server(response("503 Service Unavailable", body, "Content-Type: application/problem+json")) as server:
        result = place.run("call", "GET", "/portfolio/accounts", IBKR_BRIDGE_URL=server.url, IBKR_BRIDGE_KEY=KEY)

    assert all(line.isprintable() for line in (result.stdout + result.stderr).splitlines())
    assert result.returncode == EXIT_FAILURE


@pytest.mark.parametrize("depth", [600, 930, 960, 975, 5000])
def test_json_nested_too_deeply_is_printed_unchanged(place: Place, depth: int) -> None:
    """Python's parser and its writer have different limits of depth."""
    body = b"[" * depth + b"]" * depth
    with scripted_server(response("200 OK", body)) as server:
        result = list(place.both("call", "GET", "/x", IBKR_BRIDGE_URL=server.url, IBKR_BRIDGE_KEY=KEY))

    assert [(each.returncode, each.stderr) for each in result] == [(EXIT_OK, "")] * 2
    assert ["".join(each.stdout.split()).strip('"') for each in result] == [body.decode()] * 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("PATCH", "/portfolio/accounts"), "invalid choice: 'PATCH' (choose from"),
        (("GET", "portfolio/accounts"), "a path must begin with one slash"),
        (("GET", "/a#b"), "a path must begin with one slash"),
        (("POST", "/portfolio/allocation", "--data", "{"), "--data is not JSON"),
        (("POST", "/portfolio/allocation", "--data", "@/nowhere/x.json"), "/nowhere/x.json cannot be read"),
        (("GET", "/portfolio/accounts", "--wait", "nan"), "wait must be a number of seconds"),
        (("GET", "/portfolio/accounts", "--wait", "soon"), "--wait: invalid float value: 'soon'"),
        (("GET",), "the following arguments are required: PATH"),
    ],
)
def test_a_call_that_cannot_be_made_is_explained(place: Place, words: tuple[str, ...], message: str) -> None:
    """Before anything is sent, and without a traceback."""
    result = place.run("call", *words, IBKR_BRIDGE_KEY=KEY, IBKR_BRIDGE_URL=f"http://127.0.0.1:{free_port()}")

    assert (result.returncode, result.stdout) == (EXIT_FAILURE, "")
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_a_missing_bridge_is_reported(place: Place) -> None:
    """With its address and what to do."""
    url = f"http://127.0.0.1:{free_port()}"

    words, data = place.both("call", "GET", "/portfolio/accounts", IBKR_BRIDGE_URL=url, IBKR_BRIDGE_KEY=KEY)

    assert (words.returncode, data.returncode) == (EXIT_FAILURE, EXIT_FAILURE)
    assert words.stderr.startswith(f"bridge_unreachable: nothing answers at {url}\n  hint        start the bridge")
    assert json.loads(data.stdout)["status"] is None


def test_a_wrong_key_is_explained_for_people(place: Place, running: Demo) -> None:
    """The bridge's own hint names a header, for programs; a person needs to know which setting is wrong."""
    result = place.run("call", "GET", "/portfolio/accounts", **{**running.env, "IBKR_BRIDGE_KEY": KEY})

    assert result.returncode == EXIT_FAILURE
    assert "the bridge does not accept this key" in result.stderr
    assert KEY not in result.stderr


def test_no_key_ends_with_78(place: Place) -> None:
    """As for every command."""
    words, data = place.both("call", "GET", "/portfolio/accounts")

    assert (words.returncode, data.returncode) == (EXIT_MISCONFIGURED, EXIT_MISCONFIGURED)
    assert "IBKR_BRIDGE_KEY: not set" in words.stderr
    assert "IBKR_BRIDGE_KEY" in json.loads(data.stdout)["problems"][0]


FULL = Path("/dev/full")  # every write fails, as on a full disk
ACCEPTED = response("200 OK", b'[{"order_id":"1"}]', "X-Request-ID: mine-1", source="gateway")
NO = response("500 Internal Server Error", b'{"error":"no such order"}', "X-Request-ID: mine-1", source="gateway")
PAUSED = problem("trading_paused", "403 Forbidden", "X-Request-ID: mine-1")


def call_into(out: Path, place: Place, url: str, *words: str) -> subprocess.CompletedProcess[bytes]:
    """Run `call` with its standard output going to a file."""
    env = {**place.env, "IBKR_BRIDGE_URL": url, "IBKR_BRIDGE_KEY": KEY}
    with out.open("wb") as into:
        command = [sys.executable, str(BRIDGE), "call", *words]
        return subprocess.run(command, cwd=place.home, env=env, stdout=into, stderr=subprocess.PIPE, check=False)


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("more", [(), ("--json",)])
@pytest.mark.parametrize(
    ("script", "lines"),
    [
        (ACCEPTED, ["the call was answered (200)"]),
        (NO, ["ibkr_error (500): IBKR answered 500: no such order", "the call was answered (500)"]),
    ],
)
def test_a_response_that_cannot_be_written_is_reported(
    place: Place, script: bytes, lines: list[str], more: tuple[str, ...]
) -> None:
    """The order was placed: after a traceback and status 1 it would be sent again."""
    with scripted_server(script) as server:
        result = call_into(FULL, place, server.url, "POST", ORDERS, "--data", ORDER, *more)

        assert len(server.requests) == 1
    message = result.stderr.decode()
    assert result.returncode == EXIT_OUTPUT_FAILED
    assert all(line in message for line in lines)
    assert "standard output cannot be written: No space left on device" in message
    assert "request id  " in message
    assert "Traceback" not in message
    assert "Exception ignored" not in message


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize(
    ("script", "lines"),
    [
        (
            b"",
            ["order_unknown: ", "may have happened", "do not send it again", "the call was not answered, and standard"],
        ),
        (PAUSED, ["trading_paused (403): it was so", "the call was answered (403), but standard"]),
    ],
)
def test_an_error_that_cannot_be_written_as_json_is_printed_as_text(
    place: Place, script: bytes, lines: list[str]
) -> None:
    """It must not be lost."""
    with scripted_server(script) as server:
        result = call_into(FULL, place, server.url, "POST", ORDERS, "--data", ORDER, "--json")

    assert result.returncode == EXIT_OUTPUT_FAILED
    assert all(line in result.stderr.decode() for line in lines)


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
def test_settings_problems_that_cannot_be_written_as_json_are_printed_as_text(place: Place) -> None:
    """No call was sent."""
    with FULL.open("wb") as into:
        command = [sys.executable, str(BRIDGE), "call", "GET", "/x", "--json"]
        result = subprocess.run(
            command, cwd=place.home, env=place.env, stdout=into, stderr=subprocess.PIPE, check=False
        )

    assert result.returncode == EXIT_OUTPUT_FAILED
    assert b"IBKR_BRIDGE_KEY: not set" in result.stderr
    assert b"Traceback" not in result.stderr


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
def test_a_full_standard_output_does_not_concern_a_refusal(place: Place) -> None:
    """A refusal goes to standard error alone."""
    with scripted_server(PAUSED) as server:
        result = call_into(FULL, place, server.url, "POST", ORDERS, "--data", ORDER)

    assert result.returncode == EXIT_FAILURE
    assert result.stderr.startswith(b"trading_paused (403): it was so\n")


def test_a_closed_standard_output_is_reported(place: Place) -> None:
    """The shell closes it with `>&-`."""
    with scripted_server(ACCEPTED) as server:
        env = {**place.env, "IBKR_BRIDGE_URL": server.url, "IBKR_BRIDGE_KEY": KEY}
        words = [sys.executable, str(BRIDGE), "call", "POST", ORDERS, "--data", ORDER]
        command = ["sh", "-c", 'exec "$@" >&-', "sh", *words]
        result = subprocess.run(command, cwd=place.home, env=env, stderr=subprocess.PIPE, check=False)

    assert result.returncode == EXIT_OUTPUT_FAILED
    assert b"the call was answered (200), but standard output cannot be written" in result.stderr
    assert b"request id  mine-1" in result.stderr


def test_help_explains_the_exit_status(place: Place) -> None:
    """For scripts."""
    result = place.run("call", "--help")

    assert result.returncode == EXIT_OK
    assert all(
        f"\n  {status:<3} " in result.stdout
        for status in (EXIT_OK, EXIT_FAILURE, EXIT_OUTPUT_FAILED, EXIT_MISCONFIGURED)
    )


@pytest.mark.parametrize(("method", "is_reported"), [("GET", False), ("POST", True)])
def test_a_reader_that_ends_early_is_no_error(place: Place, method: str, is_reported: bool) -> None:
    """`call … | head` ends without a traceback; after an order the message says that it was answered."""
    with scripted_server(response("200 OK", b"[" + b"1," * 999_999 + b"1]")) as server:
        command = [sys.executable, str(BRIDGE), "call", method, "/portfolio/accounts"]
        env = {**place.env, "IBKR_BRIDGE_URL": server.url, "IBKR_BRIDGE_KEY": KEY}
        with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.read(1)
            process.stdout.close()
            message = process.stderr.read()

    assert process.returncode == EXIT_OUTPUT_FAILED
    assert (b"the call was answered (200)" in message) is bool(message) is is_reported
