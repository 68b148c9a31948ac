"""The sources of settings besides the environment: the `.env` file and secret files.

The readers never raise. They append a `Problem`, which is reported together with all others.
"""

from __future__ import annotations

import io
import os
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from dotenv.parser import Binding, parse_stream

from ibkr_bridge.config.value_types import Problem, is_file
from ibkr_bridge.file_trust import distrust, open_regular, read_regular

PROJECT_ROOT = Path(__file__).resolve().parents[2]


def dotenv_path() -> Path:
    """The path of `.env`: in the working directory, else beside `bridge.py`."""
    here = Path.cwd() / ".env"
    return here if os.path.lexists(here) else PROJECT_ROOT / ".env"


def read_dotenv(path: Path, problems: list[Problem]) -> dict[str, str]:
    """Read a `.env` file; values are taken literally. A missing file counts as an empty one.

    A file that somebody else owns or may write is a problem and not read. If it were skipped, a limit in it would be
    missing without notice.
    """
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            if reason := _distrust(path, os.fstat(file.fileno())):
                fix = "it must belong to this user or to root, and nobody else may write it: chown, and chmod 600"
                problems.append(Problem(".env", f"{path} {reason}", fix))
                return {}
            text = file.read().decode("utf-8-sig")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8 text"
        problems.append(Problem(".env", f"cannot be read: {reason}", "make it a text file that this user can read"))
        return {}
    bindings = list(parse_stream(io.StringIO(text)))
    malformed = (_first_line_of(binding) for binding in bindings if binding.error)
    problems.extend(Problem(".env", f"line {line} is not a setting", "write NAME=value") for line in malformed)
    return {binding.key: binding.value or "" for binding in bindings if binding.key is not None}


def _distrust(path: Path, status: os.stat_result) -> str | None:
    """Why a `.env` file is not trusted. A link counts with its target: its author chose the target."""
    link = path.lstat()
    is_link_of_other_user = stat.S_ISLNK(link.st_mode) and link.st_uid not in (0, os.geteuid())
    is_beside_program = path.parent == PROJECT_ROOT != Path.cwd()
    if is_beside_program and status.st_uid == Path(__file__).stat().st_uid:
        return None  # the owner of the program can change the program too
    return "is a link of another user" if is_link_of_other_user else distrust(status)


def _first_line_of(binding: Binding) -> int:
    """The number of the line with the setting. The parser counts the empty lines before it as part of it."""
    text = binding.original.string
    return binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")


NAME_PATTERN = r"[ \t]*[A-Za-z_][A-Za-z0-9_]*="
EMPTY_OR_COMMENT = re.compile(r"[ \t]*(#(.*[^\\])?)?")
PLAIN_ASSIGNMENT = re.compile(
    rf"""{NAME_PATTERN}(?![ \t]+\#)[ \t]*("[^"\\]*"|'[^'\\]*'|(?!["'])([^"'\\\s]|[ \t](?![ \t]*\#))*)[ \t]*""", re.ASCII
)
ONE_LINE_ASSIGNMENT = re.compile(rf"""{NAME_PATTERN}("([^"\\]|\\.)*"|'([^'\\]|\\.)*'|[^"'\\]|\\.)*""")


def lines_systemd_reads_differently(path: Path) -> list[Problem]:
    """Find lines of a `.env` file that systemd's `EnvironmentFile=` and the bridge may read differently.

    systemd has no comments behind a value and interprets backslashes. It drops lines that it cannot parse and writes
    them to the journal, secrets included. So a line that mentions IBKR must have the one form that both read alike.
    Other lines only have to end on the same line.
    """
    try:
        lines = read_regular(path).decode("utf-8").replace("\r\n", "\n").split("\n")
    except (OSError, UnicodeDecodeError):
        return []  # `read_dotenv` reports it
    hint = "write NAME=value: no comment after it, no backslash, no spaces around the name, no byte order mark"
    return [
        Problem(".env", f"line {number} is read differently by systemd", hint)
        for number, line in enumerate(lines, 1)
        if not EMPTY_OR_COMMENT.fullmatch(line)
        and not (PLAIN_ASSIGNMENT if "IBKR" in line.upper() else ONE_LINE_ASSIGNMENT).fullmatch(line)
    ]


SECRET_NAMES = ("IBKR_BRIDGE_KEY", "IBKR_BRIDGE_KEY_PREVIOUS", "IBKR_BRIDGE_READONLY_KEY")
SECRET_FILE_NAMES = (*SECRET_NAMES, "IBKR_BRIDGE_DATABASE_URL")
"""The settings that may come from a file or from a credential of systemd."""
LOG_NAMES = ("IBKR_BRIDGE_LOG_LEVEL", "IBKR_BRIDGE_ACCESS_LOG")
"""The settings besides the keys that a reload applies."""
RELOAD_DIRECTORY_VARIABLE = "RELOAD_DIRECTORY"


def environment_at_reload(env: Mapping[str, str]) -> dict[str, str]:
    """The environment for a reload.

    A process keeps the environment with which it started, and the bridge's own user may read neither `.env` nor the
    sources of credentials. So root copies both into the directory that RELOAD_DIRECTORY names: `.env` as `env.began`
    when the bridge starts; `.env` as `env` and the credentials at a reload. Keys and the settings of the log from
    `env.began` are dropped, and those from `env` are used. A setting that came from elsewhere, such as a drop-in,
    stays.
    """
    if not env.get(RELOAD_DIRECTORY_VARIABLE):
        return dict(env)
    directory = Path(env[RELOAD_DIRECTORY_VARIABLE])
    files = {f"{name}_FILE": str(directory / name) for name in SECRET_NAMES if (directory / name).exists()}
    if not files and not (directory / "env").exists():
        return dict(env)
    at_start, at_reload = (read_dotenv(directory / name, []) for name in ("env.began", "env"))
    names = {*SECRET_NAMES, *(f"{name}_FILE" for name in SECRET_NAMES), *LOG_NAMES}
    unchanged = {name: value for name, value in env.items() if name not in names or name not in at_start}
    return {**unchanged, **files, **{name: value for name, value in at_reload.items() if name in names}}


def environment_at_restart(env: Mapping[str, str]) -> dict[str, str]:
    """The environment that a restart would find, as far as the copies of `.env` show it.

    A setting of `env.began` whose value the environment still has came from there; it is what `env` says now.
    """
    if not env.get(RELOAD_DIRECTORY_VARIABLE) or not (Path(env[RELOAD_DIRECTORY_VARIABLE]) / "env").exists():
        return dict(env)
    directory = Path(env[RELOAD_DIRECTORY_VARIABLE])
    at_start, at_reload = (read_dotenv(directory / name, []) for name in ("env.began", "env"))
    elsewhere = {name: value for name, value in env.items() if name not in at_start or at_start[name] != value}
    return {**at_reload, **elsewhere}


def systemd_env_copy(env: Mapping[str, str]) -> Path | None:
    """The copy of the `.env` that systemd read: that of a reload, else that of the start; None outside systemd."""
    if not env.get(RELOAD_DIRECTORY_VARIABLE):
        return None
    copies = [Path(env[RELOAD_DIRECTORY_VARIABLE]) / name for name in ("env", "env.began")]
    return next((copy for copy in copies if copy.exists()), None)


def read_secret_files(env: Mapping[str, str], names: Iterable[str], problems: list[Problem]) -> dict[str, str]:
    """Read secrets from files: the file that `NAME_FILE` names (as Docker does), or systemd's credential `NAME`."""
    secrets: dict[str, str] = {}
    credentials = env.get("CREDENTIALS_DIRECTORY")
    for name in names:
        path = env.get(f"{name}_FILE")
        if not path and credentials and is_file(Path(credentials) / name):
            path = str(Path(credentials) / name)
        if not path or name in env:
            continue
        try:
            secrets[name] = read_regular(Path(path)).decode("utf-8").strip()
        except (OSError, ValueError) as exc:
            reason = f": {exc.strerror}" if isinstance(exc, OSError) else ""
            fix = "name a text file that this user can read"
            problems.append(Problem(f"{name}_FILE", f"the file cannot be read{reason}", fix))
    return secrets
