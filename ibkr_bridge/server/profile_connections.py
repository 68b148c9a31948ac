"""Connects the user of an app to IBKR: begins, says how far it is, and ends.

`profiles/connection_steps.py` decides what a user sees. What needs `cryptography` is loaded when somebody connects.
"""

from __future__ import annotations

from collections.abc import Mapping

from ibkr_bridge.clock import Clock
from ibkr_bridge.config.settings import RoadKind
from ibkr_bridge.errors import BadRequest, OrderInProgress, ProfileNotFound, RateLimited, RequestTokenUnknown
from ibkr_bridge.oauth.credential import FIRST_PARTY, THIRD_PARTY, Consumer
from ibkr_bridge.oauth.dh_parameters import ParametersProblem, read_dh_parameters
from ibkr_bridge.orders.journal.transitions import OrderState
from ibkr_bridge.profiles.company import Company
from ibkr_bridge.profiles.connection_state import ConnectionState, describe
from ibkr_bridge.profiles.credentials import KEYS_ONLY, Credentials, Stored
from ibkr_bridge.profiles.key_making import KeyMaking
from ibkr_bridge.profiles.profile import Profile
from ibkr_bridge.profiles.registry import ProfileRegistry
from ibkr_bridge.profiles.request_tokens import RequestTokens
from ibkr_bridge.profiles.sealed_store import NoCredential
from ibkr_bridge.redaction import Redactor
from ibkr_bridge.server.vault_errors import vault_errors

NO_COMPANY = "this bridge has no keys of a company"
COMPANY_HINT = "PUT /consumer, or the command profile consumer; a user alone connects with kind oauth1a"


class ProfileConnections:
    """The connections of all profiles.

    Args:
        profiles: those that run.
        credentials: of all profiles, sealed.
        company: the keys of the company, sealed.
        clock: the time.
        redactor: gets request tokens and verifiers.
    """

    def __init__(
        self,
        profiles: ProfileRegistry,
        credentials: Credentials,
        company: Company,
        clock: Clock,
        redactor: Redactor,
    ) -> None:
        self._profiles = profiles
        self._credentials = credentials
        self._company = company
        self._clock = clock
        self._redactor = redactor
        self._key_making = KeyMaking(clock)
        self._request_tokens = RequestTokens()

    def __repr__(self) -> str:
        return f"<ProfileConnections of {self._profiles!r}>"

    async def begin_self_service(self, name: str, dh_parameters: str | None) -> ConnectionState:
        """Make the keys of a user in the background, unless there are some.

        Raises:
            ProfileNotFound: there is no such profile.
            BadRequest: it is connected already, its road is the Gateway, the vault is locked, or the parameters cannot
                be used.
        """
        profile = self._on_oauth(name)
        with vault_errors():
            stored = await self._credentials.stored(profile.settings)
        if stored.kind is None:
            _check_parameters(dh_parameters)
            self._key_making.begin(name, dh_parameters, lambda members: self._store_keys(profile, members))
        elif stored.kind != KEYS_ONLY:
            raise BadRequest("this profile has a credential", hint="first DELETE /profiles/{name}/connection")
        return await self.state(name)

    async def begin_third_party(self, name: str) -> ConnectionState:
        """Get a request token from IBKR, with which the user is sent to IBKR's page.

        Raises:
            ProfileNotFound: there is no such profile.
            BadRequest: there are no keys of a company, the road is the Gateway, or the vault is locked.
            RateLimited: this was begun a moment ago.
            UpstreamRefused, GatewayError: IBKR gave no token.
        """
        from ibkr_bridge.profiles.third_party import request_token  # loads cryptography

        profile, consumer = self._on_oauth(name), await self._consumer()
        wait_s = self._request_tokens.wait_s(name, self._clock.now())
        if wait_s > 0:
            raise RateLimited("this connection was begun a moment ago", retry_after=wait_s)
        token = await request_token(profile.settings, consumer, self._clock)
        self._redactor.add_secret(token)
        self._check_still_there(profile)
        self._request_tokens.add(name, token, self._clock.now())
        return await self.state(name)

    async def verify(self, name: str, token: str, verifier: str) -> ConnectionState:
        """Trade what IBKR's page sent back for a credential, and sign in with it.

        Raises:
            ProfileNotFound: there is no such profile.
            RequestTokenUnknown: the token is not of this profile, was used, or is too old.
            UpstreamRefused, GatewayError: IBKR gave no credential; the token is used up.
            BadRequest: the vault is locked, or the keys of the company are gone.
        """
        profile, consumer = self._on_oauth(name), await self._consumer()  # first: a locked vault must use up no token
        if not self._request_tokens.use(name, token, self._clock.now()):
            raise RequestTokenUnknown("this request token was not made for this profile, was used, or is too old")
        self._redactor.add_secret(verifier)  # not before: whoever sends many would displace other secrets
        from ibkr_bridge.profiles.third_party import access_credential  # loads cryptography

        credential = await access_credential(profile.settings, consumer, self._clock, token, verifier)
        self._check_still_there(profile)
        self._key_making.forget(name)  # keys that are made now would replace those of the company
        with vault_errors():
            await self._credentials.replace(profile.settings, credential)
        profile.keeper.renew_access()
        return await self.state(name)

    async def end(self, name: str) -> ConnectionState:
        """Sign out at IBKR, and remove the credential. The profile, its keys and its journal stay.

        Raises:
            ProfileNotFound: there is no such profile.
            BadRequest: its road is the Gateway, or the credential cannot be removed.
            OrderInProgress: an order is on its way: without a session nobody could find out what became of it.
        """
        profile = self._on_oauth(name)
        if profile.orders.status().orders.get(OrderState.SENDING.value, 0):
            raise OrderInProgress("an order of this profile is on its way", hint="end the connection in a moment")
        self._abandon(name)
        if profile.keeper.session.has_login:
            await profile.keeper.log_out()
        with vault_errors("the credential cannot be removed: "):
            await self._credentials.forget(profile.settings)
        profile.keeper.renew_access()
        return await self.state(name)

    async def state(self, name: str) -> ConnectionState:
        """How far the connection of a profile is.

        Raises:
            ProfileNotFound: there is no such profile.
        """
        profile = self._profiles.get(name)
        stored, problem = Stored(), None
        kinds: tuple[str, ...] = ()
        try:
            if profile.settings.road is RoadKind.OAUTH:
                stored = await self._credentials.stored(profile.settings)
                kinds = (FIRST_PARTY, THIRD_PARTY) if await self._company.load() is not None else (FIRST_PARTY,)
        except NoCredential as exc:
            problem = exc.reason
        now = self._clock.now()
        pending = (self._key_making.find(name), self._request_tokens.find(name, now))
        return describe(profile, stored, problem, kinds, *pending, now=now)

    async def save_consumer(self, members: Mapping[str, str]) -> None:
        """Store the keys of the company.

        Raises:
            BadRequest: a member cannot be used, or the vault is locked.
        """
        with vault_errors():
            await self._company.save(members)

    async def forget_consumer(self) -> bool:
        """Remove the keys of the company; users who are connected stay so. Returns whether there were any.

        Raises:
            BadRequest: the store cannot be used.
        """
        with vault_errors():
            return await self._company.forget()

    def forget(self, profile: Profile) -> None:
        """A profile was removed: nothing more is stored for it."""
        self._abandon(profile.name)

    async def close(self) -> None:
        """End what runs in the background."""
        await self._key_making.close()

    def _abandon(self, name: str) -> None:
        self._key_making.forget(name)
        self._request_tokens.forget(name)

    def _on_oauth(self, name: str) -> Profile:
        profile = self._profiles.get(name)
        if profile.settings.road is not RoadKind.OAUTH:
            raise BadRequest(
                "this profile needs no connection: its road is the Gateway", hint="make one with road oauth"
            )
        return profile

    def _check_still_there(self, profile: Profile) -> None:
        """Check that the profile was not removed while IBKR answered."""
        if profile.name not in self._profiles or self._profiles.get(profile.name) is not profile:
            raise ProfileNotFound("the profile was removed meanwhile")

    async def _consumer(self) -> Consumer:
        with vault_errors():
            consumer = await self._company.load()
        if consumer is None:
            raise BadRequest(NO_COMPANY, hint=COMPANY_HINT)
        return consumer

    async def _store_keys(self, profile: Profile, members: Mapping[str, str]) -> None:
        if (await self._credentials.stored(profile.settings)).kind is None:  # else somebody has imported a credential
            await self._credentials.import_members(profile.settings, members)


def _check_parameters(dh_parameters: str | None) -> None:
    try:
        if dh_parameters is not None:
            read_dh_parameters(dh_parameters)
    except ParametersProblem as exc:
        raise BadRequest(str(exc), hint="openssl dhparam -2 -out dhparam.pem 2048", field="dh_parameters") from None
