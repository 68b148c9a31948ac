"""Questions that a caller tells IBKR not to ask."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ibkr_bridge.calls.messages import Response
from ibkr_bridge.events import Bus, Event, StateUnavailable
from ibkr_bridge.orders.suppressed_questions import SuppressedQuestions
from tests.calls.stage_setup import OK, context_for

SUPPRESS, RESET = "/iserver/questions/suppress", "/iserver/questions/suppress/reset"


def observe(questions: SuppressedQuestions, path: str, body: object, response: Response = OK) -> tuple[str, ...]:
    """Let the object observe a caller's call and IBKR's response. Returns the suppressed ids."""
    questions.observe(context_for("POST", path, json.dumps(body).encode()), response)
    return questions.ids


def test_the_latest_list_replaces_the_former_one() -> None:
    """As at IBKR."""
    questions = SuppressedQuestions(None, Bus())

    assert observe(questions, SUPPRESS, {"messageIds": ["o1", "o2"]}) == ("o1", "o2")
    assert observe(questions, SUPPRESS, {"messageIds": ["o3"]}) == ("o3",)
    assert observe(questions, RESET, {}) == ()


@pytest.mark.parametrize("response", [Response(500, {}, b""), Response(200, {}, b'{"error":"no"}')])
def test_a_refused_list_changes_nothing(response: Response) -> None:
    """Refused by its status, or by an error inside a 200."""
    questions = SuppressedQuestions(None, Bus())
    observe(questions, SUPPRESS, {"messageIds": ["o1"]})

    assert observe(questions, SUPPRESS, {"messageIds": ["o2"]}, response) == ("o1",)
    assert observe(questions, "/iserver/accounts", {"messageIds": ["o2"]}) == ("o1",)


@pytest.mark.parametrize("message_ids", [None, "o1", {}, [1, None, "", "not a name", "x" * 21]])
def test_an_invalid_list_suppresses_nothing(message_ids: object) -> None:
    """The bridge sends the list to IBKR again, so it must be valid."""
    assert observe(SuppressedQuestions(None, Bus()), SUPPRESS, {"messageIds": message_ids}) == ()


def test_the_number_of_ids_is_limited_to_what_one_call_may_have() -> None:
    """The limit is IBKR's."""
    ids = observe(SuppressedQuestions(None, Bus()), SUPPRESS, {"messageIds": [f"o{number}" for number in range(99)]})

    assert ids == tuple(f"o{number}" for number in range(51))


def test_the_list_is_sent_again_in_one_call() -> None:
    """Without suppressed questions there is no call."""
    questions = SuppressedQuestions(None, Bus())
    assert questions.resend_call() is None
    observe(questions, SUPPRESS, {"messageIds": ["o1"]})

    call = questions.resend_call()

    assert call is not None
    assert (call.method, call.target, call.body, call.is_change) == (
        "POST",
        f"/v1/api{SUPPRESS}",
        b'{"messageIds":["o1"]}',
        True,
    )


def test_the_list_survives_a_restart_until_it_is_reset(tmp_path: Path) -> None:
    """IBKR forgets it at the end of each session, but the bridge does not."""
    path = tmp_path / "main.suppressed.json"
    observe(SuppressedQuestions(path, Bus()), SUPPRESS, {"messageIds": ["o1"]})

    later = SuppressedQuestions(path, Bus())
    later.load()
    assert later.ids == ("o1",)
    observe(later, RESET, {})

    assert not path.exists()


@pytest.mark.parametrize("text", [b"", b"{", b"7", b'{"a":1}', b"\xff", b"[" * 100_000])
def test_an_unreadable_file_suppresses_nothing(tmp_path: Path, text: bytes) -> None:
    """IBKR then asks its questions."""
    path = tmp_path / "main.suppressed.json"
    path.write_bytes(text)
    questions = SuppressedQuestions(path, Bus())

    questions.load()

    assert questions.ids == ()


def test_a_failed_write_is_reported(tmp_path: Path) -> None:
    """This run has the list all the same."""
    bus, events = Bus(), list[Event]()
    bus.subscribe(events.append)

    assert observe(SuppressedQuestions(tmp_path / "no" / "x.json", bus), SUPPRESS, {"messageIds": ["o1"]}) == ("o1",)
    assert [type(event) for event in events] == [StateUnavailable]


def test_every_list_is_in_the_file_that_is_loaded_once(tmp_path: Path) -> None:
    """Without a state directory there is none, and nothing fails."""
    path = tmp_path / "main.suppressed.json"
    questions = SuppressedQuestions(path, Bus())
    observe(questions, SUPPRESS, {"messageIds": ["o1"]})
    observe(questions, SUPPRESS, {"messageIds": ["o2", "o3"]})
    without = SuppressedQuestions(None, Bus())
    without.load()

    assert (json.loads(path.read_text()), without.ids) == (["o2", "o3"], ())
