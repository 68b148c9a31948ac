"""Findings about the variables of an app."""

from __future__ import annotations

import pytest

from ibkr_bridge.cli.doctor.app_file import AppFacts
from ibkr_bridge.cli.doctor.checks import find_all
from tests.cli.doctor.healthy import broken, healthy, only_broken

WELL: dict[str, object] = {"url": "http://127.0.0.1:8000", "has_key": True, "may_trade": True, "is_tried": True}


def app(**members: object) -> AppFacts:
    """The facts of an app's file."""
    return AppFacts(".env.production", **{**WELL, **members})  # type: ignore[arg-type]  # each has its type


def test_an_app_with_a_good_key_is_well() -> None:
    """Its scope is said."""
    found = {each.check: each.found for each in find_all(healthy(app=app())) if each.layer.value == "app"}

    assert found["app key"] == "the bridge accepts it; it may trade"
    assert broken(healthy(app=app(may_trade=False))) == []


@pytest.mark.parametrize(
    ("members", "check"),
    [
        ({"error": "there is no such file"}, "app file"),
        ({"is_readable_by_others": True}, "app file"),
        ({"public_names": ("NEXT_PUBLIC_IBKR_BRIDGE_KEY",)}, "public key"),
        ({"url_problem": "IBKR_BRIDGE_URL is missing"}, "app url"),
        ({"key_problem": "IBKR_BRIDGE_KEY is missing"}, "app key"),
        ({"key_error": ("the bridge does not accept this key", "use the other")}, "app key"),
        ({"key_error": ("no bridge answers", "")}, "app key"),
    ],
)
def test_what_is_wrong_is_reported(members: dict[str, object], check: str) -> None:
    """Each by its own check, in the layer of the app."""
    assert only_broken(healthy(app=app(**members)))[:2] == ("app", check)


def test_another_address_is_shown_and_is_no_problem() -> None:
    """The app may reach the bridge by another name."""
    facts = healthy(app=app(url="http://bridge:8000", is_tried=False))

    assert broken(facts) == []
    assert "another address" in next(each.found for each in find_all(facts) if each.check == "app url")
