"""All profiles of one bridge by name. The key of a request names the profile that it concerns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ibkr_bridge.profiles.profile import Profile


class ProfileRegistry:
    """The profiles of one bridge.

    Args:
        profiles: all of them; the first is the default.
    """

    def __init__(self, profiles: Iterable[Profile]) -> None:
        self._by_name = {profile.name: profile for profile in profiles}

    def __repr__(self) -> str:
        return f"<ProfileRegistry {', '.join(self._by_name)}>"

    def __iter__(self) -> Iterator[Profile]:
        return iter(self._by_name.values())

    def get(self, name: str) -> Profile:
        """The profile with this name.

        Raises:
            KeyError: there is none. This cannot happen with the name that a valid key has.
        """
        return self._by_name[name]

    @property
    def default(self) -> Profile:
        """The profile whose state the open routes report."""
        return next(iter(self))
