"""Which profile a request concerns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from ibkr_bridge.profiles.profile import Profile
from ibkr_bridge.profiles.registry import ProfileRegistry
from ibkr_bridge.server.app_keys import PROFILES, REQUEST_CONTEXT, profile_of
from ibkr_bridge.server.keyring import READ_ONLY, Principal
from ibkr_bridge.server.request_context import RequestContext
from tests.profiles.profile_setup import build


@pytest.fixture
async def main(tmp_path: Path) -> Profile:
    """The profile that the environment describes."""
    return build(tmp_path).profile


@pytest.fixture
def other(main: Profile) -> Profile:
    """A second one, of another name."""
    return replace(main, name="other")


@pytest.fixture
def app(main: Profile, other: Profile) -> web.Application:
    """An application that serves both."""
    made = web.Application()
    made[PROFILES] = ProfileRegistry((main, other))
    return made


def request_of(app: web.Application, principal: Principal | None) -> web.Request:
    """A request of somebody who has shown this."""
    request = make_mocked_request("GET", "/", app=app)
    request[REQUEST_CONTEXT] = RequestContext("id", 0.0, principal=principal)
    return request


def test_a_key_leads_to_the_profile_that_it_belongs_to(app: web.Application, main: Profile, other: Profile) -> None:
    """Nobody reaches an account by another account's key."""
    by_main = profile_of(request_of(app, Principal("full", READ_ONLY)))
    by_other = profile_of(request_of(app, Principal("full", READ_ONLY, profile="other")))

    assert (by_main, by_other) == (main, other)


def test_a_request_without_a_key_concerns_the_main_profile(app: web.Application, main: Profile) -> None:
    """The open routes describe that one."""
    assert profile_of(request_of(app, None)) is main


def test_a_key_of_a_profile_that_is_gone_reaches_none(app: web.Application) -> None:
    """Least of all the main one."""
    with pytest.raises(KeyError):
        profile_of(request_of(app, Principal("full", READ_ONLY, profile="gone")))
