"""Questions that IBKR was told never to ask."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ibkr_bridge.calls.messages import Response
from ibkr_bridge.events import Bus, Event, StateUnavailable
from ibkr_bridge.orders.suppressed_questions import MAX_MESSAGE_IDS, SuppressedQuestions
from tests.calls.road import OK, context_for

SUPPRESS, RESET = "/iserver/questions/suppress", "/iserver/questions/suppress/reset"


def told(questions: SuppressedQuestions, path: str, body: object, response: Response = OK) -> tuple[str, ...]:
    """A caller tells IBKR, which answers."""
    questions.observe(context_for("POST", path, json.dumps(body).encode()), response)
    return questions.ids


def test_the_latest_list_counts_not_the_sum() -> None:
    """As at IBKR."""
    questions = SuppressedQuestions(None, Bus())

    assert told(questions, SUPPRESS, {"messageIds": ["o1", "o2"]}) == ("o1", "o2")
    assert told(questions, SUPPRESS, {"messageIds": ["o3"]}) == ("o3",)
    assert told(questions, RESET, {}) == ()


@pytest.mark.parametrize("response", [Response(500, {}, b""), Response(200, {}, b'{"error":"no"}')])
def test_what_ibkr_refused_changes_nothing(response: Response) -> None:
    """By a status, or inside a 200."""
    questions = SuppressedQuestions(None, Bus())
    told(questions, SUPPRESS, {"messageIds": ["o1"]})

    assert told(questions, SUPPRESS, {"messageIds": ["o2"]}, response) == ("o1",)
    assert told(questions, "/iserver/accounts", {"messageIds": ["o2"]}) == ("o1",)


@pytest.mark.parametrize("listed", [None, "o1", {}, [1, None, "", "not a name", "x" * 21]])
def test_what_is_no_list_of_ids_suppresses_nothing(listed: object) -> None:
    """It is told to IBKR again, so it has to be clean."""
    assert told(SuppressedQuestions(None, Bus()), SUPPRESS, {"messageIds": listed}) == ()


def test_no_more_ids_are_kept_than_ibkr_takes() -> None:
    """In one call."""
    ids = told(SuppressedQuestions(None, Bus()), SUPPRESS, {"messageIds": [f"o{each}" for each in range(99)]})

    assert len(ids) == MAX_MESSAGE_IDS


def test_ibkr_is_told_again_in_one_change() -> None:
    """Nothing where nothing is suppressed."""
    questions = SuppressedQuestions(None, Bus())
    assert questions.resend_call() is None
    told(questions, SUPPRESS, {"messageIds": ["o1"]})

    call = questions.resend_call()

    assert call is not None
    assert (call.method, call.target, call.body, call.is_change) == (
        "POST",
        f"/v1/api{SUPPRESS}",
        b'{"messageIds":["o1"]}',
        True,
    )


def test_the_list_outlives_a_restart_until_it_is_reset(tmp_path: Path) -> None:
    """IBKR forgets it with each session, and the bridge does not."""
    path = tmp_path / "main.suppressed.json"
    told(SuppressedQuestions(path, Bus()), SUPPRESS, {"messageIds": ["o1"]})

    later = SuppressedQuestions(path, Bus())
    later.load()
    assert later.ids == ("o1",)
    told(later, RESET, {})

    assert not path.exists()


@pytest.mark.parametrize("text", [b"", b"{", b"7", b'{"a":1}', b"\xff", b"[" * 100_000])
def test_a_file_that_cannot_be_read_suppresses_nothing(tmp_path: Path, text: bytes) -> None:
    """IBKR then asks."""
    path = tmp_path / "main.suppressed.json"
    path.write_bytes(text)
    questions = SuppressedQuestions(path, Bus())

    questions.load()

    assert questions.ids == ()


def test_a_file_that_cannot_be_written_is_announced(tmp_path: Path) -> None:
    """This run knows the list all the same."""
    bus, events = Bus(), list[Event]()
    bus.subscribe(events.append)

    assert told(SuppressedQuestions(tmp_path / "no" / "x.json", bus), SUPPRESS, {"messageIds": ["o1"]}) == ("o1",)
    assert [type(event) for event in events] == [StateUnavailable]
