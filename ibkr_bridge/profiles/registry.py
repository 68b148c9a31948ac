"""All profiles of one bridge by name. The key of a request names the profile that it concerns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ibkr_bridge.errors import ProfileNotFound
from ibkr_bridge.profiles.profile import Profile


class ProfileRegistry:
    """The profiles of one bridge. They come and go while it runs, but for the first.

    Args:
        profiles: those of the start; the first is the default.
    """

    def __init__(self, profiles: Iterable[Profile]) -> None:
        self._by_name = {profile.name: profile for profile in profiles}

    def __repr__(self) -> str:
        return f"<ProfileRegistry {', '.join(self._by_name)}>"

    def __iter__(self) -> Iterator[Profile]:
        return iter(tuple(self._by_name.values()))

    def __len__(self) -> int:
        return len(self._by_name)

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def get(self, name: str) -> Profile:
        """The profile with this name.

        Raises:
            ProfileNotFound: there is none; it may have been removed a moment ago.
        """
        if name not in self._by_name:
            raise ProfileNotFound("there is no such profile")
        return self._by_name[name]

    def add(self, profile: Profile) -> None:
        """Add a profile under its name, which must be free."""
        if profile.name in self._by_name:
            raise ValueError("the name is in use")
        self._by_name[profile.name] = profile

    def remove(self, name: str) -> Profile:
        """Remove a profile; requests for it are refused from now on.

        Raises:
            ProfileNotFound: there is none, or it is the default, which stays.
        """
        if name == self.default.name:
            raise ProfileNotFound("the profile of the environment cannot be removed")
        profile = self.get(name)
        del self._by_name[name]
        return profile

    @property
    def default(self) -> Profile:
        """The profile whose state the open routes report."""
        return next(iter(self._by_name.values()))
