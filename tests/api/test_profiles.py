"""The routes about profiles, as a program with a key uses them. `tests/stories/test_profiles.py` has the behaviour."""

from __future__ import annotations

import pytest

from ibkr_bridge.server.named_keys import KeyScope, add_key
from tests.clocks import NOON
from tests.harness import KEY, READONLY_KEY, Harness


@pytest.fixture
def managing(harness: Harness) -> str:
    """A key that manages."""
    keys, key = add_key((), "admin", KeyScope.MANAGE, NOON)
    harness.bridge.keys.replace_named(keys)
    return key


async def test_a_key_that_manages_sees_all_and_reaches_no_account(harness: Harness, managing: str) -> None:
    """Whoever has it can do no order with it."""
    listed = await harness.get("/profiles", key=managing)
    account = await harness.get("/portfolio/accounts", key=managing)

    assert [each["name"] for each in listed.json["profiles"]] == ["main"]
    assert (account.status, account.code) == (403, "insufficient_scope")


@pytest.mark.parametrize("key", [KEY, READONLY_KEY])
async def test_other_keys_see_their_own_profile(harness: Harness, key: str) -> None:
    """They manage none."""
    listed = await harness.get("/profiles", key=key) if key == KEY else None

    assert listed is None or listed.json["refused"] is None
    assert (await harness.post("/profiles/main/pause", key=KEY)).code == "insufficient_scope"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "bad_request"),
        (b'{"name": "A"}', "validation_failed"),
        (b'{"name": "anna", "other": 1}', "validation_failed"),
        (b'{"name": "anna", "settings": {"mode": null}}', "validation_failed"),
        (b'{"name": "anna", "settings": {"mode": "wild"}}', "bad_request"),
        (b'{"name": "main"}', "profile_exists"),
    ],
)
async def test_a_wrong_body_makes_no_profile(harness: Harness, managing: str, body: bytes, code: str) -> None:
    """The answer says what to correct."""
    reply = await harness.post("/profiles", body, key=managing, headers={"Content-Type": "application/json"})

    assert reply.code == code
    assert [each["name"] for each in (await harness.get("/profiles", key=managing)).json["profiles"]] == ["main"]


async def test_a_profile_that_does_not_exist_is_404(harness: Harness, managing: str) -> None:
    """For every act."""
    for path in ("pause", "resume", "logout"):
        assert (await harness.post(f"/profiles/nobody/{path}", key=managing)).code == "profile_not_found"
    assert (await harness.request("DELETE", "/profiles/nobody", key=managing)).code == "profile_not_found"
    assert (await harness.post("/profiles/nobody/keys", {}, key=managing)).code == "profile_not_found"


async def test_nobody_is_logged_out_twice(harness: Harness, managing: str) -> None:
    """A profile without a login says so."""
    assert (await harness.post("/profiles/main/logout", key=managing)).status == 200
    assert (await harness.post("/profiles/main/logout", key=managing)).code == "session_unavailable"
