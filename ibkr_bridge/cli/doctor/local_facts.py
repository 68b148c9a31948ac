"""Facts of this machine that need no network: where the settings come from, who can read them, and the program."""

from __future__ import annotations

import difflib
import os
import platform
import pwd
import stat
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from aiohttp import http_parser

from ibkr_bridge.cli.bridge_access import demo_without_settings
from ibkr_bridge.cli.demo_file import find_demo
from ibkr_bridge.cli.doctor.bounded import UserIds
from ibkr_bridge.cli.doctor.unit_probe import INSTALLED_STATE
from ibkr_bridge.config.settings import Settings, merge_sources, setting_names
from ibkr_bridge.config.sources import SECRET_NAMES, dotenv_path, lines_systemd_reads_differently
from ibkr_bridge.program_name import INSTALLED_NAME

NEAR_MISS = 0.85  # `IBKR_TRADINGMODE` is 0.97, `IBKR_ACCOUNT_ID` and `IBKR_ALLOWED_ACCOUNTS` are 0.56
SERVICE_USER = INSTALLED_NAME
OTHERS_MAY_READ = stat.S_IRGRP | stat.S_IROTH


@dataclass(frozen=True)
class SourceFacts:
    """Where the settings come from."""

    dotenv: str
    """The path of the file."""
    exists: bool = False
    is_readable_by_others: bool = False
    demo_url: str | None = None
    """The address of the demo whose settings are used; None if others are used."""
    is_of_demo: bool = False
    """Whether the settings lead to a running demo, whose key is no secret."""
    near_misses: tuple[tuple[str, str], ...] = ()
    """Names that are no setting and look like one, with that one."""
    misread_lines: tuple[str, ...] = ()
    """Lines of the file that systemd and the bridge read differently, if systemd reads it."""
    open_secrets: tuple[str, ...] = ()
    """Files with a key that other users can read."""


@dataclass(frozen=True)
class ProgramFacts:
    """What runs this command; the service uses the same."""

    python: str
    executable: str
    has_c_parser: bool


def read_sources(settings: Settings) -> SourceFacts:
    """Look at the files of the settings."""
    path, used_demo, demo = dotenv_path(), demo_without_settings(), find_demo()
    return SourceFacts(
        dotenv=str(path),
        exists=path.exists(),
        is_readable_by_others=_mode_of(path) & OTHERS_MAY_READ != 0,
        demo_url=used_demo.url if used_demo is not None else None,
        is_of_demo=demo is not None and demo.url == str(settings.url),
        near_misses=find_near_misses(merge_sources(os.environ, path), setting_names()),
        misread_lines=misread_lines(path) if settings.state_dir == INSTALLED_STATE else (),
        open_secrets=tuple(str(each) for each in _secret_files(os.environ) if _mode_of(each) & OTHERS_MAY_READ),
    )


def read_program() -> ProgramFacts:
    """Look at the Python that runs this command."""
    has_c_parser = http_parser.HttpRequestParser is not http_parser.HttpRequestParserPy
    return ProgramFacts(platform.python_version(), sys.executable, has_c_parser)


def find_near_misses(env: Iterable[str], names: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Names of the environment that are no setting and look like one, each with that one.

    The daemon refuses those that look like its protective settings and those with its own prefixes; these are the rest.
    """
    all_names = [*names, *(f"{name}_FILE" for name in SECRET_NAMES)]
    own = sorted(name for name in env if name.startswith("IBKR_") and name not in all_names)
    similar = ((name, difflib.get_close_matches(name, all_names, n=1, cutoff=NEAR_MISS)) for name in own)
    return tuple((name, matches[0]) for name, matches in similar if matches)


def misread_lines(path: Path) -> tuple[str, ...]:
    """Lines that the installed service does not read as this command does; without their values."""
    return tuple(problem.found for problem in lines_systemd_reads_differently(path))


def _secret_files(env: Mapping[str, str]) -> list[Path]:
    """The credentials of the installed service. Secrets of a container belong to its runtime, and are left out."""
    directory = env.get("CREDENTIALS_DIRECTORY")
    return [Path(directory) / name for name in SECRET_NAMES] if directory else []


def _mode_of(path: Path) -> int:
    try:
        return path.stat().st_mode
    except OSError:
        return 0


def service_user(settings: Settings) -> UserIds | None:
    """As whom files are looked at: the user of the installed service if root runs this command; None for oneself."""
    if os.geteuid() != 0 or settings.state_dir != INSTALLED_STATE:
        return None
    return user_ids(SERVICE_USER)


def user_ids(name: str) -> UserIds | None:
    """The numbers of a user; None if this machine has no such user."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return UserIds(entry.pw_uid, entry.pw_gid)
