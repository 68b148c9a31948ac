"""For which profile a request token was made: once, and for ten minutes."""

from __future__ import annotations

from ibkr_bridge.profiles.request_tokens import LIFE_S, MIN_GAP_S, RequestTokens

TOKEN, OTHER = "25ebcc75204da80b73f4", "61c107d4cf34ac6d9f2b"


def made(now: float = 0.0) -> RequestTokens:
    """Anna waits for IBKR's page."""
    tokens = RequestTokens()
    tokens.add("anna", TOKEN, now)
    return tokens


def test_a_token_is_used_once() -> None:
    """What a browser sends again is worth nothing."""
    tokens = made()

    assert [tokens.use("anna", TOKEN, 1.0) for _ in range(2)] == [True, False]
    assert tokens.find("anna", 1.0) is None


def test_a_token_belongs_to_its_profile() -> None:
    """And whoever tries it for another one does not use it up."""
    tokens = made()
    tokens.add("ben", OTHER, 0.0)

    assert (tokens.use("ben", TOKEN, 1.0), tokens.use("nobody", TOKEN, 1.0)) == (False, False)
    assert (tokens.use("ben", OTHER, 1.0), tokens.use("anna", TOKEN, 1.0)) == (True, True)


def test_a_token_grows_old() -> None:
    """After ten minutes."""
    assert made().use("anna", TOKEN, LIFE_S - 0.1)
    assert not made().use("anna", TOKEN, LIFE_S)


def test_the_latest_token_counts() -> None:
    """A user who begins again has left the earlier page."""
    tokens = made()
    tokens.add("anna", OTHER, 10.0)

    assert (tokens.use("anna", TOKEN, 11.0), tokens.use("anna", OTHER, 11.0)) == (False, True)


def test_a_token_that_is_forgotten_is_worth_nothing() -> None:
    """The connection was ended, or the profile removed."""
    tokens = made()
    tokens.forget("anna")
    tokens.forget("nobody")

    assert not tokens.use("anna", TOKEN, 1.0)


def test_each_request_is_a_call_to_ibkr() -> None:
    """A user who clicks again and again waits."""
    tokens = made()

    assert (tokens.wait_s("ben", 1.0), tokens.wait_s("anna", 1.0)) == (0.0, MIN_GAP_S - 1.0)
    assert tokens.wait_s("anna", MIN_GAP_S) == 0.0


def test_no_token_is_shown() -> None:
    """Not even by accident."""
    assert TOKEN not in repr(made().find("anna", 1.0))


def test_what_is_no_ascii_is_no_token() -> None:
    """It came through a browser."""
    assert not made().use("anna", "\u00e4\ud800", 1.0)
