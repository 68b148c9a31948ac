"""All profiles of one bridge, found by name. Which profile a request concerns is found from its key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ibkr_bridge.profiles.profile import Profile

MAIN = "main"  # the profile that the environment describes, and so far the only one


class ProfileRegistry:
    """The profiles of one bridge."""

    def __init__(self, profiles: Iterable[Profile]) -> None:
        self._by_name = {profile.name: profile for profile in profiles}

    def __repr__(self) -> str:
        return f"<ProfileRegistry {', '.join(self._by_name)}>"

    def __iter__(self) -> Iterator[Profile]:
        return iter(self._by_name.values())

    def get(self, name: str) -> Profile:
        """The profile of a name.

        Raises:
            KeyError: there is none; a key that is known names one that exists.
        """
        return self._by_name[name]

    @property
    def main(self) -> Profile:
        """The profile that the open routes describe."""
        return self._by_name[MAIN]
