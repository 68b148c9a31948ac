"""The session without a Gateway: access first, then the session; what each refusal means, and what is tried next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest

from ibkr_bridge.calls.messages import Call, OnReleased, Response, json_response, noop
from ibkr_bridge.errors import GatewayTimeout, InPenaltyBox, RateLimited
from ibkr_bridge.oauth.refusals import AccessProblem, Refusal
from ibkr_bridge.session.dh_token_failures import HOUR_S, RETRY_S
from ibkr_bridge.session.oauth_session_api import OBSERVATION_OF_REFUSAL, OAuthSessionApi
from ibkr_bridge.session.preflight import PreflightOutcome
from ibkr_bridge.session.state_machine import Observation
from tests.clocks import ManualClock

GOOD = {"authenticated": True, "connected": True, "competing": False}
NO_DH_TOKEN = Response(500, {}, b'{"error":"failed to generate sso dh token"}')


@dataclass
class FakeUpstream:
    """Answers by path, and records what is sent."""

    answers: dict[str, Response | Exception] = field(default_factory=dict)
    sent: list[tuple[str, str, bytes]] = field(default_factory=list)

    async def send(self, call: Call, *, timeout_s: float | None = None, on_released: OnReleased = noop) -> Response:
        """See `SessionUpstream.send`."""
        path = call.target.removeprefix("/v1/api").partition("?")[0]
        self.sent.append((call.method, path, call.body))
        on_released()
        answer = self.answers.get(path, json_response({}))
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def paths(self) -> list[str]:
        """The paths of what was sent."""
        return [path for _, path, _ in self.sent]


@dataclass
class FakeAccess:
    """Access that is there or not, as the test says."""

    is_there: bool = True
    problem: AccessProblem | None = None
    wait_s: float = 0.0
    steps: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.on_another: Callable[[], None] = noop

    async def ensure(self) -> object | None:
        """See `AccessSource.ensure`."""
        return self if self.is_there else None

    def request(self, *, is_new_credential: bool = False) -> None:
        """See `AccessSource.request`."""
        self.steps.append("request anew" if is_new_credential else "request")

    def end(self) -> None:
        """See `AccessSource.end`."""
        self.steps.append("end")


@dataclass
class Scene:
    """A session with its far side."""

    upstream: FakeUpstream
    access: FakeAccess
    clock: ManualClock
    api: OAuthSessionApi


def new_scene(answers: Mapping[str, Response | Exception] | None = None, *, is_portfolio_only: bool = False) -> Scene:
    """A session whose upstream answers by path."""
    upstream, access, clock = FakeUpstream(dict(answers or {})), FakeAccess(), ManualClock()
    return Scene(upstream, access, clock, OAuthSessionApi(upstream, access, clock, is_portfolio_only=is_portfolio_only))


def status(body: object) -> Mapping[str, Response | Exception]:
    """The answer of `auth/status`."""
    return {"/iserver/auth/status": json_response(body)}


@pytest.mark.parametrize("refusal", Refusal)
async def test_without_access_the_refusal_is_the_observation(refusal: Refusal) -> None:
    """Nothing is sent that could only be refused."""
    scene = new_scene(status(GOOD))
    scene.access.is_there, scene.access.problem = False, AccessProblem(refusal, "IBKR's words", "a hint")

    assert await scene.api.check_status() is OBSERVATION_OF_REFUSAL[refusal]
    assert (scene.upstream.sent, scene.api.status_message, scene.api.problem_hint) == ([], "IBKR's words", "a hint")


async def test_with_access_the_flags_decide() -> None:
    """As behind a Gateway."""
    assert await new_scene(status(GOOD)).api.check_status() is Observation.SESSION
    assert await new_scene(status({**GOOD, "authenticated": False})).api.check_status() is Observation.LOGIN_ONLY
    assert await new_scene(status({**GOOD, "established": False})).api.check_status() is Observation.ESTABLISHING


@pytest.mark.parametrize("code", [401, 410])
async def test_a_session_that_is_refused_with_fresh_access_is_gone(code: int) -> None:
    """The upstream has tried another access before."""
    scene = new_scene({"/iserver/auth/status": Response(code, {}, b"")})

    assert await scene.api.check_status() is Observation.NO_LOGIN

    scene.access.problem = AccessProblem(Refusal.SECRET_LOST)
    assert await scene.api.check_status() is Observation.SECRET_LOST


async def test_a_page_of_ibkrs_edge_is_no_answer_of_ibkr() -> None:
    """The address is blocked; to go on would make it longer."""
    page = Response(403, {}, b"<html>Access Denied. Reference #18</html>")

    assert await new_scene({"/iserver/auth/status": page}).api.check_status() is Observation.FORBIDDEN


async def test_silence_is_a_timeout() -> None:
    """And no word about the access."""
    scene = new_scene({"/iserver/auth/status": GatewayTimeout("no answer")})

    assert await scene.api.check_status() is Observation.TIMEOUT


async def test_a_check_that_was_made_a_moment_ago_shows_the_same() -> None:
    """A caller may have read the accounts, which IBKR allows every five seconds."""
    scene = new_scene({"/portfolio/accounts": json_response([{"id": "DU1"}])}, is_portfolio_only=True)
    assert await scene.api.check_status() is Observation.SESSION
    scene.upstream.answers["/portfolio/accounts"] = RateLimited("a moment ago")

    assert await scene.api.check_status() is Observation.SESSION

    scene.upstream.answers["/portfolio/accounts"] = InPenaltyBox("IBKR refuses everything")
    assert await scene.api.check_status() is Observation.RATE_LIMITED


async def test_a_portfolio_only_session_is_its_accounts() -> None:
    """It never opens a brokerage session and asks for nothing of it."""
    scene = new_scene({"/portfolio/accounts": json_response([{"id": "DU1234567"}])}, is_portfolio_only=True)

    assert await scene.api.check_status() is Observation.SESSION
    result = await scene.api.run_preflight()
    await scene.api.warm_up_orders()

    assert result.outcome is PreflightOutcome.WORKED
    assert result.accounts is not None
    assert result.accounts.numbers == {"DU1234567"}
    assert scene.upstream.paths == ["/portfolio/accounts"]


@pytest.mark.parametrize(
    ("answer", "observation"),
    [
        (Response(401, {}, b""), Observation.NO_LOGIN),
        (Response(200, {}, b"{}"), Observation.UNUSABLE_RESPONSE),
        (Response(503, {}, b""), Observation.UNUSABLE_RESPONSE),
        (Response(429, {}, b""), Observation.RATE_LIMITED),
    ],
)
async def test_a_portfolio_that_does_not_answer(answer: Response, observation: Observation) -> None:
    """Only a list of accounts shows a session."""
    scene = new_scene({"/portfolio/accounts": answer}, is_portfolio_only=True)

    assert await scene.api.check_status() is observation


async def test_a_tickle_is_a_post() -> None:
    """Nobody else tickles here."""
    scene = new_scene({"/tickle": json_response({"session": "abc"})})

    assert await scene.api.tickle() == {"session": "abc"}
    assert scene.upstream.sent == [("POST", "/tickle", b"")]

    scene.upstream.answers["/tickle"] = json_response([])
    assert await scene.api.tickle() is None


async def test_the_dh_token_is_tried_again_with_a_tickle_then_without_competing_then_hourly() -> None:
    """Each of the first two has helped somebody; then only a person can find the cause."""
    scene = new_scene({"/iserver/auth/ssodh/init": NO_DH_TOKEN, "/tickle": json_response({"session": "abc"})})
    waits = []
    for _ in range(3):
        await scene.api.open_session(compete=True)
        waits.append(scene.api.opening_wait_s)

    competes = [b'"compete": true' in body for _, path, body in scene.upstream.sent if path.endswith("init")]
    assert competes == [True, True, False]
    assert scene.upstream.paths[:3] == ["/iserver/auth/ssodh/init", "/tickle", "/iserver/auth/ssodh/init"]
    assert waits == [RETRY_S, RETRY_S, HOUR_S]

    scene.api.request_access()
    assert (scene.api.opening_wait_s, scene.access.steps) == (0.0, ["request"])


async def test_a_session_that_opens_ends_the_pauses() -> None:
    """The next loss is answered at once."""
    scene = new_scene({"/iserver/auth/ssodh/init": NO_DH_TOKEN})
    await scene.api.open_session(compete=True)
    scene.upstream.answers.clear()

    assert (await scene.api.open_session(compete=True)).status == 200
    assert scene.api.opening_wait_s == 0.0


async def test_a_sign_out_ends_the_access() -> None:
    """And says how to sign in again."""
    scene = new_scene({"/logout": json_response({"status": True})})

    assert await scene.api.log_out() == 200
    assert scene.access.steps == ["end"]
    scene.access.is_there, scene.access.problem = False, AccessProblem(Refusal.SIGNED_OUT)
    assert await scene.api.check_status() is Observation.NO_LOGIN
    assert "reconnect" in scene.api.next_act
    assert scene.api.access_wait_s is None  # nobody asks until somebody wants the session


async def test_the_next_act_names_the_pause() -> None:
    """Nothing else happens until then."""
    scene = new_scene()
    scene.access.is_there, scene.access.problem, scene.access.wait_s = False, AccessProblem(Refusal.INACTIVE), 3000.0
    await scene.api.check_status()

    assert (scene.api.next_act, scene.api.access_wait_s) == ("next request for access in 50 min 0 s", 3000.0)
    scene.access.is_there = True
    await scene.api.check_status()
    assert (scene.api.next_act, scene.api.access_wait_s) == ("", None)


async def test_another_access_is_a_reason_to_look_at_the_session() -> None:
    """The brokerage session may or may not have outlived the former one."""
    scene, looked = new_scene(), list[bool]()
    scene.api.on_late_check = lambda: looked.append(True)

    scene.access.on_another()

    assert looked == [True]


@pytest.mark.parametrize("is_paper", [True, False, None])
async def test_the_kind_of_the_login_comes_with_the_credential(is_paper: bool | None) -> None:
    """`/sso/validate` is not for this road."""
    upstream = FakeUpstream()
    api = OAuthSessionApi(upstream, FakeAccess(), ManualClock(), is_paper=lambda: is_paper)

    assert await api.login_is_paper() is is_paper
    assert await api.is_login_alive() is True
    assert upstream.sent == []
