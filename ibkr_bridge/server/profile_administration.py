"""Makes, changes and removes profiles and their keys while the bridge runs.

A profile that is made here has a file in the state directory, so that the next start finds it. The profiles of the
operator's own files are run and not changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ibkr_bridge.clock import Clock
from ibkr_bridge.config.profile_files import SUFFIX, profile_settings
from ibkr_bridge.config.settings import MAIN, RoadKind, Settings, SettingsError
from ibkr_bridge.errors import BadRequest, ProfileExists, RateLimited
from ibkr_bridge.oauth.credential import OAuth1Credential
from ibkr_bridge.profiles.credentials import Credentials, Imported
from ibkr_bridge.profiles.made_profiles import remove_profile, write_profile
from ibkr_bridge.profiles.manager import ProfileManager
from ibkr_bridge.profiles.profile import Profile
from ibkr_bridge.profiles.sealed_store import NoCredential
from ibkr_bridge.server.keyring import KeyRing
from ibkr_bridge.server.named_keys import (
    KeyScope,
    NamedKey,
    NamedKeysError,
    add_key,
    grant_profile,
    load_named_keys,
    lock_keys,
    save_named_keys,
    without_profile,
)
from ibkr_bridge.server.vault_errors import VAULT_HINT, vault_errors

NO_STATE_DIR = "the bridge has no state directory, so no profile can be made"
MAX_MADE = 200
CHECK_INTERVAL_S = 5.0  # between two checks of one credential, each of which is a handshake


class ProfileAdministration:
    """The profiles and their keys.

    Args:
        profiles: runs them.
        keys: the keys of the bridge.
        main: the settings of the profile `main`.
        directory: for the files of profiles; None if there is no state directory.
        clock: the time.
        credentials: of all profiles, sealed.
    """

    def __init__(
        self,
        profiles: ProfileManager,
        keys: KeyRing,
        main: Settings,
        directory: Path | None,
        clock: Clock,
        credentials: Credentials,
    ) -> None:
        self._profiles = profiles
        self._keys = keys
        self._main = main
        self._directory = directory
        self._clock = clock
        self._checked_at: dict[str, float] = {}
        self._credentials = credentials

    def __repr__(self) -> str:
        return f"<ProfileAdministration of {self._profiles!r}>"

    @property
    def refused(self) -> Mapping[str, str]:
        """The profiles of files that cannot be used, with what to correct."""
        return {each.profile: str(each) for each in self._profiles.refused}

    async def create(self, name: str, members: Mapping[str, object], app_key: str | None = None) -> Profile:
        """Make a profile, and a file of it.

        Args:
            app_key: the name of an app's key, which reaches the profile from now on.

        Raises:
            ProfileExists: a profile of this name runs.
            BadRequest: a setting cannot be used; the detail names each. Or there is no such key of an app.
        """
        directory = self._writable()
        if name in self._profiles.registry:
            raise ProfileExists("there is a profile of this name")
        if len(self._profiles.registry) > MAX_MADE:
            raise BadRequest(f"there are {MAX_MADE} profiles already", hint="forget one that nobody uses")
        settings = self._checked(name, members)
        if app_key is not None:  # before the profile is there: a profile without its key would be half a result
            self._change_keys(lambda keys: grant_profile(keys, app_key, name))
        try:
            write_profile(directory, name, members)
        except OSError as exc:
            raise BadRequest(f"the profile cannot be saved: {exc.strerror}", hint=NO_STATE_DIR) from exc
        return await self._profiles.add(settings)

    def _checked(self, name: str, members: Mapping[str, object]) -> Settings:
        try:
            settings = profile_settings(name, members, self._main)
            self._profiles.check_unique(settings)
        except SettingsError as exc:
            detail = "; ".join(str(problem) for problem in exc.problems)
            raise BadRequest(detail, hint="correct the settings as the detail says", field="settings") from exc
        return settings

    async def forget(self, name: str) -> None:
        """End a profile, and remove its file and its keys. The journal of its orders stays.

        Raises:
            ProfileNotFound: there is none.
            BadRequest: it is of a file of the operator, or `main`.
        """
        self._check_made(name)
        profile = await self._profiles.remove(name)
        await self._forget_credential(profile.settings)
        remove_profile(self._writable(), name)
        self._change_keys(lambda keys: without_profile(keys, name))

    async def import_credential(self, name: str, members: Mapping[str, object]) -> Imported:
        """Store a credential of a profile, or a part of one, and let the profile sign in with it.

        Raises:
            ProfileNotFound: there is no such profile.
            BadRequest: a member cannot be used, or the vault is locked; the detail says why.
        """
        profile = self._profiles.registry.get(name)
        if profile.settings.road is not RoadKind.OAUTH:
            raise BadRequest(
                "this profile needs no credential: its road is the Gateway", hint="make one with road oauth"
            )
        with vault_errors():
            imported = await self._credentials.import_members(profile.settings, members)
        if not imported.missing:
            profile.keeper.renew_access()
        return imported

    async def check_credential(self, name: str) -> tuple[bool, str | None, str, str]:
        """Whether IBKR accepts the credential of a profile; the part that is wrong, what was found, and what to do.

        While the profile has a session nothing is sent: a second handshake could end the first.

        Raises:
            ProfileNotFound: there is no such profile.
            BadRequest: it has no credential that can be checked.
            RateLimited: it was checked a moment ago.
        """
        profile = self._profiles.registry.get(name)
        if profile.settings.road is not RoadKind.OAUTH:
            raise BadRequest("this profile needs no credential: its road is the Gateway", hint="use the command doctor")
        if profile.keeper.session.has_login:
            return True, None, "IBKR accepts it: the profile is signed in", "nothing to do"
        self._check_interval(name)
        try:
            credential = await self._credentials.load(profile.settings)
        except NoCredential as exc:
            return False, None, exc.detail, VAULT_HINT if exc.reason != "credential_missing" else "import it"
        if not isinstance(credential, OAuth1Credential):
            raise BadRequest("only a credential of OAuth 1.0a can be checked", hint="see GET /profiles")
        from ibkr_bridge.oauth.diagnosis import GOOD  # these load cryptography
        from ibkr_bridge.profiles.oauth_check import check_credential

        verdict = await check_credential(profile.settings, credential, self._clock)
        if verdict is GOOD:
            profile.keeper.renew_access()
        artefact = verdict.artefact.value if verdict.artefact is not None else None
        return verdict is GOOD, artefact, verdict.text, verdict.do

    def _check_interval(self, name: str) -> None:
        now = self._clock.now()
        wait_s = self._checked_at.get(name, float("-inf")) + CHECK_INTERVAL_S - now
        if wait_s > 0:
            raise RateLimited("this credential was checked a moment ago", retry_after=wait_s)
        self._checked_at[name] = now

    async def _forget_credential(self, settings: Settings) -> None:
        if settings.road is RoadKind.OAUTH:
            with vault_errors("the credential cannot be removed: "):
                await self._credentials.forget(settings)

    def add_key(self, profile: str, scope: KeyScope) -> str:
        """A new key of a profile, which nobody can compute again. There may be two of a scope.

        Raises:
            ProfileNotFound: there is no such profile.
            BadRequest: it has two already.
        """
        self._profiles.registry.get(profile)
        made: list[str] = []

        def add(keys: Sequence[NamedKey]) -> Sequence[NamedKey]:
            after, key = add_key(keys, key_name(profile, scope), scope, self._clock.utc(), (profile,))
            made.append(key)
            return after

        self._change_keys(add)
        return made[0]

    def _check_made(self, name: str) -> None:
        self._profiles.registry.get(name)
        directory = self._writable()
        if name == MAIN or not (directory / f"{name}{SUFFIX}").exists():
            where = "the environment" if name == MAIN else "a file of the operator"
            raise BadRequest(f"{name} is a profile of {where}", hint="remove it there, and restart the bridge")

    def _writable(self) -> Path:
        if self._directory is None:
            raise BadRequest(NO_STATE_DIR, hint="set IBKR_BRIDGE_STATE_DIR")
        return self._directory

    def _change_keys(self, change: Callable[[Sequence[NamedKey]], Sequence[NamedKey]]) -> None:
        state_dir = self._writable().parent
        try:
            with lock_keys(state_dir):
                keys = tuple(change(load_named_keys(state_dir)))
                save_named_keys(state_dir, keys)
        except NamedKeysError as exc:
            raise BadRequest(exc.detail, hint=exc.hint) from exc
        except OSError as exc:
            raise BadRequest(f"the keys cannot be changed: {exc.strerror}", hint="look at the log") from exc
        self._keys.replace_named(keys)


def key_name(profile: str, scope: KeyScope) -> str:
    """The name of a profile's keys of one scope; the log shows it."""
    return profile if scope is KeyScope.TRADE else f"{profile}-read"[:32]
