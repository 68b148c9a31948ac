"""The profile that a request concerns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from ibkr_bridge.errors import ProfileNotFound
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
    """A second profile with another name."""
    return replace(main, name="other")


@pytest.fixture
def app(main: Profile, other: Profile) -> web.Application:
    """An application that serves both profiles."""
    application = web.Application()
    application[PROFILES] = ProfileRegistry((main, other))
    return application


def request_of(app: web.Application, principal: Principal | None, profile: str | None = None) -> web.Request:
    """A request of this principal, for which the checks found this profile."""
    request = make_mocked_request("GET", "/", app=app)
    request[REQUEST_CONTEXT] = RequestContext("id", 0.0, principal=principal, chosen_profile=profile)
    return request


def test_a_key_leads_to_the_profile_that_it_belongs_to(app: web.Application, main: Profile, other: Profile) -> None:
    """The key of one account must not reach another account."""
    by_main = profile_of(request_of(app, Principal("full", READ_ONLY), "main"))
    by_other = profile_of(request_of(app, Principal("full", READ_ONLY, profiles=("other",)), "other"))

    assert (by_main, by_other) == (main, other)


def test_a_request_without_a_key_concerns_the_main_profile(app: web.Application, main: Profile) -> None:
    """The open routes describe the main profile."""
    assert profile_of(request_of(app, None)) is main


def test_a_key_of_a_missing_profile_reaches_no_profile(app: web.Application) -> None:
    """Such a key must not reach the main profile."""
    with pytest.raises(ProfileNotFound):
        profile_of(request_of(app, Principal("full", READ_ONLY, profiles=("gone",)), "gone"))


def test_a_request_that_concerns_no_profile_reaches_none(app: web.Application) -> None:
    """A handler that forgets this must not act for the main profile."""
    with pytest.raises(ProfileNotFound):
        profile_of(request_of(app, Principal("admin", READ_ONLY, profiles=())))
