"""Whether the login is still valid: asked rarely, and remembered for some seconds."""

from __future__ import annotations

import pytest

from ibkr_bridge.session.gateway_session_api import GatewaySessionApi
from ibkr_bridge.session.login_proof import LoginProof
from tests.clocks import ManualClock


class ScriptedApi(GatewaySessionApi):
    """Answers the question whether the login is still valid as scripted, the last answer repeatedly."""

    def __init__(self, *answers: bool | None) -> None:
        self.answers = list(answers)
        self.question_count = 0

    async def is_login_alive(self) -> bool | None:
        """The next answer."""
        self.question_count += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.mark.parametrize("answer", [True, False, None])
async def test_the_answer_is_used_for_ten_seconds(answer: bool | None) -> None:
    """A check every three seconds would ask IBKR three times for the same answer."""
    api, clock = ScriptedApi(answer), ManualClock()
    proof = LoginProof(api, clock)

    answers = []
    for _ in range(4):
        answers.append(await proof.is_alive())
        clock.advance(3.0)

    assert answers == [answer] * 4
    assert api.question_count == 1


async def test_after_ten_seconds_the_question_is_asked_again() -> None:
    """A login that ended meanwhile is noticed."""
    api, clock = ScriptedApi(True, False), ManualClock()
    proof = LoginProof(api, clock)
    first = await proof.is_alive()

    clock.advance(10.0)

    assert (first, await proof.is_alive()) == (True, False)
