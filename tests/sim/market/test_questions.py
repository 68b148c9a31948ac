"""The open question and the prompts of a user."""

from __future__ import annotations

from decimal import Decimal

import pytest

from ibkr_bridge.sim.market.book import Order
from ibkr_bridge.sim.market.questions import Change, QuestionDesk
from ibkr_bridge.sim.market.sessions import Brokerage

ORDER = Order(0, "DU1", 265598, "BUY", "MKT", Decimal(1), None, None, "DAY", "", "", "Submitted", 0.0)
CHANGES = [Change(None, ORDER)]
NONE = frozenset[str]()


@pytest.fixture
def desk() -> QuestionDesk:
    """One without questions and prompts."""
    return QuestionDesk()


def test_a_question_is_answered_once(desk: QuestionDesk) -> None:
    """It is found by its id, with all changes that wait for it."""
    question = desk.open_question(CHANGES, frozenset({"o1"}), ("o2",), None)

    assert desk.take_question(question.id, None) is question
    assert desk.take_question(question.id, None) is None


def test_the_next_question_has_another_id_and_ends_the_last(desk: QuestionDesk) -> None:
    """IBKR holds one question for a user."""
    first = desk.open_question(CHANGES, NONE, ("o1",), None)
    second = desk.open_question(CHANGES, NONE, ("o1",), None)

    assert first.id != second.id
    assert desk.take_question(first.id, None) is None


def test_a_wrong_answer_ends_the_question_too(desk: QuestionDesk) -> None:
    """Any reply closes the open question."""
    question = desk.open_question(CHANGES, NONE, ("o1",), None)

    assert desk.take_question("another", None) is None
    assert desk.take_question(question.id, None) is None


def test_another_order_call_ends_a_question_and_not_a_prompt(desk: QuestionDesk) -> None:
    """A prompt names its order."""
    question, prompt = desk.open_question(CHANGES, NONE, ("o1",), None), desk.open_prompt(7, CHANGES, None)

    desk.clear()

    assert desk.take_question(question.id, None) is None
    assert desk.take_prompt(7, prompt.request_id, None) is prompt


def test_a_prompt_is_answered_once_by_its_order_and_request(desk: QuestionDesk) -> None:
    """Two prompts of one order have different request ids."""
    first, second = desk.open_prompt(7, CHANGES, None), desk.open_prompt(7, CHANGES, None)

    assert desk.take_prompt(8, first.request_id, None) is None
    assert desk.take_prompt(7, first.request_id, None) is first
    assert desk.take_prompt(7, first.request_id, None) is None
    assert desk.take_prompt(7, second.request_id, None) is second


def test_both_end_with_their_session(desk: QuestionDesk) -> None:
    """They end even if the next session is equal."""
    session, later = Brokerage(0.0, 0.0), Brokerage(0.0, 0.0)
    question, prompt = desk.open_question(CHANGES, NONE, ("o1",), session), desk.open_prompt(7, CHANGES, session)

    assert desk.take_question(question.id, later) is None
    assert desk.take_prompt(7, prompt.request_id, later) is None
