"""Named keys: further keys for callers, each with a name and a scope, stored as digests in the state directory.

`bridge.py keys` changes the file, and the bridge reads it at a start and at a reload. A key has 256 random bits, so
nobody can find it from its SHA-256 by guessing. A slow hash protects words that people choose; here it would only make
each request slower.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Annotated

import msgspec

from ibkr_bridge.config.settings import MAIN
from ibkr_bridge.redaction import NAMED_KEY_PREFIX
from ibkr_bridge.state_file import load_text, write_atomic

FILE = "keys.json"
KEY_BYTES = 32  # 256 bits, 43 characters
MAX_KEYS_PER_NAME = 2  # the one in use and its successor, while callers change to it
MAX_NAMES = 512
RESERVED_NAMES = ("full", "previous", "read-only")  # the log names the keys of the settings so
NAME_PATTERN = r"^[a-z][a-z0-9-]{0,31}\Z"
NAME_HINT = "a name has at most 32 small letters, digits and hyphens, and begins with a letter"
REPAIR_HINT = "correct it, or remove it and make new keys with the command keys add"


class NamedKeysError(Exception):
    """The keys cannot be read or changed so. `hint` says what to do."""

    def __init__(self, detail: str, hint: str) -> None:
        super().__init__(f"{detail}: {hint}")
        self.detail, self.hint = detail, hint


class KeyScope(Enum):
    """What a named key allows."""

    READ = "read"
    TRADE = "trade"
    """Everything that the full key may do."""
    MANAGE = "manage"
    """Add, change and remove profiles and their keys. It reaches no account."""


class NamedKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One key, as the file has it."""

    name: Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)]
    scope: KeyScope
    created: Annotated[datetime, msgspec.Meta(tz=True)]
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
    """Of the key's characters."""
    profiles: tuple[Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)], ...] = (MAIN,)
    """What it reaches; nothing for a key that manages."""
    app: bool = False
    """Whether each request must say which of these profiles it concerns."""

    @property
    def digest(self) -> bytes:
        """The digest as bytes."""
        return bytes.fromhex(self.sha256)


class _KeyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    keys: tuple[NamedKey, ...]


def parse_named_keys(text: str) -> tuple[NamedKey, ...]:
    """Parse the file.

    Raises:
        NamedKeysError: it has another form, or too many keys. The message repeats no digest.
    """
    try:
        keys = msgspec.json.decode(text, type=_KeyFile).keys
    except (msgspec.DecodeError, RecursionError) as exc:
        raise NamedKeysError(f"{FILE} has an error ({exc})", REPAIR_HINT) from exc
    counts = Counter(key.name for key in keys)
    if len(counts) > MAX_NAMES or any(count > MAX_KEYS_PER_NAME for count in counts.values()):
        raise NamedKeysError(f"{FILE} has too many keys", f"at most {MAX_NAMES} names, {MAX_KEYS_PER_NAME} keys each")
    if len({key.sha256 for key in keys}) < len(keys) or counts.keys() & set(RESERVED_NAMES):
        raise NamedKeysError(f"{FILE} has a key twice, or a reserved name", REPAIR_HINT)
    return keys


@contextmanager
def lock_keys(state_dir: Path) -> Iterator[None]:
    """Wait for another program that changes the keys: one of the two changes would be lost.

    Raises:
        OSError: the directory cannot be made or opened.
    """
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory = os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def load_named_keys(state_dir: Path | None) -> tuple[NamedKey, ...]:
    """The keys of a state directory; none without a directory or a file.

    Raises:
        NamedKeysError: the file cannot be read, or has an error.
    """
    if state_dir is None:
        return ()
    try:
        return parse_named_keys(load_text(state_dir / FILE))
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8 text"
        raise NamedKeysError(f"{FILE} cannot be read ({reason})", "make it a file that the bridge can read") from exc


def save_named_keys(state_dir: Path, keys: Iterable[NamedKey]) -> None:
    """Replace the file.

    Raises:
        OSError: it cannot be written; the old file is unchanged.
    """
    write_atomic(state_dir / FILE, msgspec.json.format(msgspec.json.encode(_KeyFile(tuple(keys)))).decode() + "\n")


def add_key(
    keys: Sequence[NamedKey],
    name: str,
    scope: KeyScope,
    now: datetime,
    profiles: Sequence[str] = (MAIN,),
    *,
    app: bool = False,
) -> tuple[tuple[NamedKey, ...], str]:
    """The keys with a new one, and the new key itself, which nobody can compute again.

    Args:
        profiles: what it reaches.
        app: whether each of its requests must name the profile.

    Raises:
        NamedKeysError: the name cannot be used, or has two keys already, or a key of another scope.
    """
    key = NAMED_KEY_PREFIX + secrets.token_urlsafe(KEY_BYTES)
    digest = hashlib.sha256(key.encode()).hexdigest()
    reached = () if scope is KeyScope.MANAGE else tuple(dict.fromkeys(profiles))
    _check_addition(keys, name, scope, reached)
    return (*keys, NamedKey(name, scope, now.replace(microsecond=0), digest, reached, app)), key


def _check_addition(keys: Sequence[NamedKey], name: str, scope: KeyScope, profiles: tuple[str, ...]) -> None:
    same_name = [key for key in keys if key.name == name]
    try:
        msgspec.convert(name, Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)])
    except msgspec.ValidationError as exc:
        raise NamedKeysError("the name cannot be used", NAME_HINT) from exc
    if name in RESERVED_NAMES:
        raise NamedKeysError(f"{name} is the name of a key of the settings", "choose another name")
    if any(key.scope is not scope for key in same_name):
        raise NamedKeysError(f"{name} has a key that may {same_name[0].scope.value}", "choose that scope, or revoke it")
    if any(key.profiles != profiles for key in same_name):
        raise NamedKeysError(f"{name} has a key for other profiles", "name the same profiles, or choose another name")
    if len(same_name) >= MAX_KEYS_PER_NAME:
        raise NamedKeysError(f"{name} has {MAX_KEYS_PER_NAME} keys already", f"first: keys revoke {name} --older")
    if not same_name and len({key.name for key in keys}) >= MAX_NAMES:
        raise NamedKeysError(f"there are {MAX_NAMES} names already", "revoke one that nobody uses")


def grant_profile(keys: Sequence[NamedKey], name: str, profile: str) -> tuple[NamedKey, ...]:
    """The keys, of which those of one name reach a further profile. It must be a key of an app.

    Raises:
        NamedKeysError: there is no such key, or it is bound to one profile.
    """
    if not any(key.name == name for key in keys):
        raise NamedKeysError("there is no key of this name", "keys list shows the names")
    if not all(key.app for key in keys if key.name == name):
        raise NamedKeysError(f"{name} is bound to its profile", "make a key of an app: keys add NAME --trade --app")
    return tuple(_reaching(key, profile) if key.name == name else key for key in keys)


def _reaching(key: NamedKey, profile: str) -> NamedKey:
    return msgspec.structs.replace(key, profiles=tuple(dict.fromkeys((*key.profiles, profile))))


def without_profile(keys: Sequence[NamedKey], profile: str) -> tuple[NamedKey, ...]:
    """The keys after a profile was removed: those of it alone are gone, and no other reaches it."""
    left = (
        msgspec.structs.replace(key, profiles=tuple(each for each in key.profiles if each != profile)) for key in keys
    )
    return tuple(key for key in left if key.profiles or key.app or key.scope is KeyScope.MANAGE)


def revoke_keys(keys: Sequence[NamedKey], name: str, *, only_older: bool) -> tuple[NamedKey, ...]:
    """The keys without those of a name, or without the older one of its two.

    Raises:
        NamedKeysError: there is no such key, or no older one.
    """
    same_name = [key for key in keys if key.name == name]
    if not same_name:
        raise NamedKeysError("there is no key of this name", "keys list shows the names")
    if only_older and len(same_name) < MAX_KEYS_PER_NAME:
        raise NamedKeysError(f"{name} has one key only", f"to revoke it: keys revoke {name}")
    revoked = same_name[:1] if only_older else same_name  # the file has them in the order of their making
    return tuple(key for key in keys if key not in revoked)
