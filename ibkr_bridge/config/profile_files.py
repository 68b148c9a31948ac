"""Files with the settings of further profiles, in TOML: `[profile.NAME]` with settings in small letters.

The environment describes the profile `main`. A profile of a file has the same settings under shorter names, so that
each is checked by the same code and explained by the same words. Nothing is inherited from `main`: a limit that a file
does not set is not set.
"""

from __future__ import annotations

import difflib
import functools
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ibkr_bridge.config.settings import MAIN, RoadKind, Settings, SettingsError
from ibkr_bridge.config.value_types import Problem
from ibkr_bridge.file_trust import distrust, open_regular

NAME_PATTERN = re.compile(r"[a-z][a-z0-9-]{0,31}")
NAME_HINT = "a name has at most 32 small letters, digits and hyphens, and begins with a letter"
MAX_PROFILES = 200
MAX_FILE_BYTES = 1_000_000
SUFFIX = ".toml"

SETTING_OF_MEMBER: Mapping[str, str] = {
    "road": "IBKR_BRIDGE_ROAD",
    "mode": "IBKR_TRADING_MODE",
    "read_only": "IBKR_READ_ONLY",
    "accounts": "IBKR_ALLOWED_ACCOUNTS",
    "max_order_quantity": "IBKR_MAX_ORDER_QUANTITY",
    "max_order_value": "IBKR_MAX_ORDER_VALUE",
    "allow_paid_snapshots": "IBKR_ALLOW_PAID_SNAPSHOTS",
    "compete": "IBKR_COMPETE",
    "watch": "IBKR_GATEWAY_WATCH",
    "timeout": "IBKR_GATEWAY_TIMEOUT",
    "add_coid": "IBKR_BRIDGE_ADD_COID",
    "region": "IBKR_BRIDGE_REGION",
    "maintenance": "IBKR_BRIDGE_MAINTENANCE",
    "resets": "IBKR_BRIDGE_RESETS",
    "remind_before": "IBKR_BRIDGE_REMIND_BEFORE",
    "local_address": "IBKR_BRIDGE_LOCAL_ADDRESS",
    "gateway_url": "IBKR_GATEWAY_URL",
    "gateway_socket": "IBKR_GATEWAY_SOCKET",
    "gateway_fingerprint": "IBKR_GATEWAY_FINGERPRINT",
    "gateway_ca_file": "IBKR_GATEWAY_CA_FILE",
    "api_url": "IBKR_BRIDGE_API_URL",
    "api_ca_file": "IBKR_BRIDGE_API_CA_FILE",
    "api_rate": "IBKR_BRIDGE_API_RATE",
    "portfolio_only": "IBKR_BRIDGE_PORTFOLIO_ONLY",
}
"""The members of a profile, and the setting of the environment that each stands for."""
USER, USER_PATTERN = "user", re.compile(r"[!-~]{0,128}")
"""The member that says whose profile it is, in the words of the app."""
MEMBER_OF_SETTING = {setting: member for member, setting in SETTING_OF_MEMBER.items()}
OF_PROCESS = (
    *("url", "key", "key_previous", "readonly_key", "extra_prefixes", "state_dir", "profiles", "vault_keys"),
    *("database_url", "max_wait_s", "log_level", "log_format", "access_log", "allow_remote", "allowed_hosts"),
)
"""The fields of the settings that hold for every profile."""


@dataclass(frozen=True)
class ProfileProblem:
    """What is wrong with one profile of a file."""

    profile: str
    problems: tuple[Problem, ...]

    def __str__(self) -> str:
        return "; ".join(str(problem) for problem in self.problems)


def read_profiles(paths: Iterable[Path], main: Settings) -> tuple[list[Settings], list[ProfileProblem]]:
    """Read the profiles of files, and of all files `*.toml` of directories; a path that does not exist has none.

    Args:
        main: the settings of the profile `main`.

    Returns:
        The profiles that can be used, and what is wrong with the others.
    """
    accepted, problems = list[Settings](), list[ProfileProblem]()
    for file in (each for path in paths for each in _files(path)):
        for name, read in _profiles_of(file, main):
            try:
                settings = read()
                check_unique(settings, [main, *accepted])
                accepted.append(settings)
            except SettingsError as exc:
                problems.append(ProfileProblem(name, tuple(exc.problems)))
    return accepted, problems


def _profiles_of(file: Path, main: Settings) -> Iterator[tuple[str, Callable[[], Settings]]]:
    """The name of each profile of a file, and a function that makes its settings."""
    try:
        tables = parse_profile_file(_read(file))
    except ValueError as exc:
        problem = Problem(str(file), str(exc), "correct the file, or remove it")
        yield file.stem, functools.partial(_raise, SettingsError([problem]))
        return
    for name, members in tables.items():
        yield name, functools.partial(profile_settings, name, members, main)


def _raise(error: SettingsError) -> Settings:
    raise error


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(each for each in path.iterdir() if each.suffix == SUFFIX)
    return [path] if os.path.lexists(path) else []


def _read(path: Path) -> str:
    """The text of a file that nobody else can write.

    Raises:
        ValueError: it cannot be read, or is not trusted.
    """
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            if reason := distrust(os.fstat(file.fileno())):
                raise ValueError(f"it {reason}")
            return file.read(MAX_FILE_BYTES).decode("utf-8")
    except OSError as exc:
        raise ValueError(f"it cannot be read: {exc.strerror}") from exc


def parse_profile_file(text: str) -> Mapping[str, Mapping[str, object]]:
    """The members of each profile of a file, by the profile's name.

    Raises:
        ValueError: it is no TOML, or has something besides profiles.
    """
    try:
        content = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as exc:
        raise ValueError(f"it is no TOML file ({exc})") from exc
    tables = content.pop("profile", {})
    if content or not isinstance(tables, dict) or not all(isinstance(each, dict) for each in tables.values()):
        raise ValueError("it must have tables [profile.NAME] and nothing besides")
    if len(tables) > MAX_PROFILES:
        raise ValueError(f"it has more than {MAX_PROFILES} profiles")
    return tables


def profile_settings(name: str, members: Mapping[str, object], main: Settings) -> Settings:
    """The settings of one profile.

    Raises:
        SettingsError: every problem of it, under the names of the file.
    """
    if NAME_PATTERN.fullmatch(name) is None or name == MAIN:
        found = "is the profile of the environment" if name == MAIN else "cannot be a name"
        raise SettingsError([Problem("[profile.…]", found, NAME_HINT)])
    problems = [_unknown_member(member) for member in members if member not in (*SETTING_OF_MEMBER, USER)]
    user = str(members.get(USER, ""))
    if not USER_PATTERN.fullmatch(user):
        problems.append(Problem(USER, "found another text", "at most 128 visible characters without spaces"))
    texts = {setting: _text(members[member]) for member, setting in SETTING_OF_MEMBER.items() if member in members}
    try:
        settings = Settings.from_env({"IBKR_BRIDGE_KEY": main.key, **texts})
    except SettingsError as exc:
        problems += [replace(each, name=MEMBER_OF_SETTING.get(each.name, each.name)) for each in exc.problems]
    if problems:
        raise SettingsError([replace(each, name=f"[profile.{name}] {each.name}") for each in problems])
    return replace(settings, profile=name, user=user, **{each: getattr(main, each) for each in OF_PROCESS})


def _unknown_member(member: str) -> Problem:
    similar = next(iter(difflib.get_close_matches(member, SETTING_OF_MEMBER, n=1)), None)
    advice = f"did you mean {similar}?" if similar else "docs/profiles.md lists them"
    return Problem(member if re.fullmatch(r"[a-z_]{1,40}", member) else "a name", "unknown setting", advice)


def _text(value: object) -> str:
    """A value of TOML as it would stand in the environment."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ",".join(_text(each) for each in value)
    return str(value)


def check_unique(settings: Settings, others: Sequence[Settings]) -> None:
    """Check that a profile gets in no other's way: each has its own name, and its own Gateway.

    Raises:
        SettingsError: it does.
    """
    label = f"[profile.{settings.profile}]"
    if any(settings.profile == other.profile for other in others):
        raise SettingsError([Problem(label, "found the name twice", "each profile has its own name")])
    if settings.road is RoadKind.GATEWAY:
        rival = next((each for each in others if _gateway(each) == _gateway(settings)), None)
        if rival is not None:
            found = f"found the Gateway of the profile {rival.profile}"
            allowed = "one Gateway serves one username: start another one, and name its address"
            raise SettingsError([Problem(f"{label} gateway_url", found, allowed)])


def _gateway(settings: Settings) -> str | None:
    """Where the Gateway of a profile is; None if it uses none."""
    return str(settings.gateway_socket or settings.gateway_url) if settings.road is RoadKind.GATEWAY else None
