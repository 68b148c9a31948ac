"""The routes about profiles: the list for every caller; making, changing and removing for a key that manages.

A key that manages works on loopback only. The control socket of the state directory needs no key: who may open the
file may manage.
"""

from __future__ import annotations

import msgspec
from aiohttp import web

from ibkr_bridge.api import gateway_routes
from ibkr_bridge.api import history as past
from ibkr_bridge.api.plain.answers import answer, read_struct
from ibkr_bridge.config.value_types import is_loopback
from ibkr_bridge.errors import GatewayProtocolError, InsufficientScope, SessionUnavailable
from ibkr_bridge.ibkr.endpoint import Effect
from ibkr_bridge.models.profiles import (
    CheckedCredential,
    CredentialMembers,
    ForgottenProfile,
    ImportedCredential,
    MadeProfile,
    MadeProfileKey,
    NewProfile,
    NewProfileKey,
    ProfileList,
    ProfileSummary,
    RefusedProfile,
)
from ibkr_bridge.profiles.profile import Profile
from ibkr_bridge.server.app_keys import ADMINISTRATION, CLOCK, PROFILES, REQUEST_CONTEXT
from ibkr_bridge.server.keyring import Principal
from ibkr_bridge.server.named_keys import KeyScope
from ibkr_bridge.server.profile_administration import key_name


async def listing(request: web.Request) -> web.Response:
    """The profiles that the key reaches; for a key that manages all of them, and those that cannot be used."""
    principal = _principal(request)
    manages = Effect.MANAGE in principal.effects
    reached = [each for each in request.app[PROFILES] if manages or each.name in principal.profiles]
    refused = request.app[ADMINISTRATION].refused if manages else {}
    extra = [RefusedProfile(name, problems) for name, problems in refused.items()]
    return answer(ProfileList([summary(each) for each in reached], extra if manages else None))


async def create(request: web.Request) -> web.Response:
    """Make a profile and its first key."""
    check_may_manage(request)
    wanted = await read_struct(request, NewProfile)
    administration = request.app[ADMINISTRATION]
    profile = await administration.create(wanted.name, wanted.settings, wanted.app_key)
    key = administration.add_key(profile.name, KeyScope(wanted.key.value)) if wanted.key is not None else None
    return answer(MadeProfile(summary(profile), key))


async def forget(request: web.Request) -> web.Response:
    """Remove a profile, its credential and its keys. The journal of its orders stays."""
    name = managed_profile(request).name
    await request.app[ADMINISTRATION].forget(name)
    return answer(ForgottenProfile(name))


async def add_key(request: web.Request) -> web.Response:
    """Make a further key of a profile."""
    profile, wanted = managed_profile(request), await read_struct(request, NewProfileKey)
    scope = KeyScope(wanted.scope.value)
    key = request.app[ADMINISTRATION].add_key(profile.name, scope)
    return answer(MadeProfileKey(key, key_name(profile.name, scope), wanted.scope))


async def import_credential(request: web.Request) -> web.Response:
    """Store a credential, sealed, and sign in with it."""
    profile, sent = managed_profile(request), await read_struct(request, CredentialMembers)
    members = {name: value for name, value in msgspec.structs.asdict(sent).items() if value is not msgspec.UNSET}
    imported = await request.app[ADMINISTRATION].import_credential(profile.name, members)
    return answer(ImportedCredential(profile.name, imported.kind, not imported.missing, list(imported.missing)))


async def check(request: web.Request) -> web.Response:
    """Check the credential of a profile, without a brokerage session."""
    profile = managed_profile(request)
    good, artefact, text, do = await request.app[ADMINISTRATION].check_credential(profile.name)
    return answer(CheckedCredential(profile.name, good, artefact, text, do))


async def pause(request: web.Request) -> web.Response:
    """Stop new orders of a profile; cancels are still sent."""
    profile = managed_profile(request)
    profile.trading_pause.set(f"{_principal(request).label} key", request.app[CLOCK].utc())
    return answer(summary(profile))


async def resume(request: web.Request) -> web.Response:
    """Allow new orders of a profile again."""
    profile = managed_profile(request)
    profile.trading_pause.clear(f"{_principal(request).label} key")
    return answer(summary(profile))


async def logout(request: web.Request) -> web.Response:
    """End the login of a profile at IBKR."""
    profile = managed_profile(request)
    if not profile.keeper.session.has_login:
        raise SessionUnavailable("nobody is signed in", hint="there is no login to end")
    if await profile.keeper.log_out() != 200:
        raise GatewayProtocolError("IBKR did not confirm the log-out", hint="see GET /profiles")
    return answer(summary(profile))


async def status(request: web.Request) -> web.Response:
    """What `GET /gateway/status` says, for a profile whose key the caller does not have."""
    request[REQUEST_CONTEXT].chosen_profile = managed_profile(request).name
    return await gateway_routes.status(request)


async def history(request: web.Request) -> web.Response:
    """What `GET /gateway/history` says, for a profile whose key the caller does not have."""
    request[REQUEST_CONTEXT].chosen_profile = managed_profile(request).name
    return await past.history(request)


def summary(profile: Profile) -> ProfileSummary:
    """The shape of one profile."""
    keeper, settings = profile.keeper, profile.settings
    status = keeper.status()
    return ProfileSummary(
        name=profile.name,
        road=settings.road.value,
        mode=settings.trading_mode.value,
        user=settings.user,
        state=status.state,
        ready=status.authenticated,
        reason=status.reason,
        hint=status.hint,
        since=status.since,
        next=status.next,
        paused=profile.trading_pause.is_on,
    )


def _principal(request: web.Request) -> Principal:
    principal = request[REQUEST_CONTEXT].principal
    if principal is None:
        raise InsufficientScope("this needs a key")
    return principal


def check_may_manage(request: web.Request) -> None:
    """Check that the request comes from this machine; the checks have compared the effect with the key."""
    peer = request.remote
    if peer and not is_loopback(peer):
        raise InsufficientScope("profiles are managed from this machine only", hint="use an SSH tunnel")


def managed_profile(request: web.Request) -> Profile:
    """The profile that the path names, for a request that may manage it.

    Raises:
        InsufficientScope: the request comes from another machine.
        ProfileNotFound: there is no such profile.
    """
    check_may_manage(request)
    return request.app[PROFILES].get(request.match_info["name"])
