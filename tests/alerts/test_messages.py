"""What an alert says."""

from __future__ import annotations

from datetime import timedelta

from ibkr_bridge.alerts.messages import beginning, ending, trial
from tests.alerts.alert_setup import HOST, SIGN_IN, news
from tests.clocks import NOON


def test_a_person_who_must_sign_in_gets_the_way_there() -> None:
    """From the computer itself, and from elsewhere by a tunnel that can be copied."""
    message = beginning(news(url=SIGN_IN), HOST)

    assert message.title == "IBKR Bridge main on server: text of signed_out"
    assert message.body.splitlines() == [
        "To do: do it",
        "On that computer: https://127.0.0.1:5000",
        "From elsewhere: ssh -N -L 5000:127.0.0.1:5000 server, then https://localhost:5000",
        "Since 2026-06-17 16:00 UTC.",
    ]


def test_a_gateway_on_another_computer_needs_no_tunnel_to_this_one() -> None:
    """Its address is given as it is."""
    body = beginning(news(url="https://gateway.example:5000"), HOST).body

    assert "Address: https://gateway.example:5000" in body
    assert "ssh" not in body


def test_the_end_says_how_long_it_took() -> None:
    """A clock that was set back makes no negative time."""
    assert ending(news(), HOST, NOON + timedelta(minutes=12)).title.endswith(
        "over after 12 min 0 s: text of signed_out"
    )
    assert ending(news(), HOST, NOON - timedelta(minutes=12)).title.endswith("over after 0 s: text of signed_out")


def test_a_test_says_that_it_is_one() -> None:
    """Nobody is alarmed."""
    assert "this is a test" in trial(HOST).title
