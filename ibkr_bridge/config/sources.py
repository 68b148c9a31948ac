"""Where settings come from besides the environment: the `.env` file, and secrets handed over as files.

Neither raises: what cannot be read is noted as a `Problem`, and told together with everything else.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from dotenv.parser import Binding, parse_stream

from ibkr_bridge.config.value_types import Problem, is_file

PROJECT_ROOT = Path(__file__).resolve().parents[2]


def dotenv_path() -> Path:
    """The `.env` file: in the working directory, else beside `bridge.py`."""
    here = Path.cwd() / ".env"
    return here if here.exists() else PROJECT_ROOT / ".env"


def read_dotenv(path: Path, problems: list[Problem]) -> dict[str, str]:
    """The lines of a `.env` file, taken literally; a file that is not there is an empty one."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8 text"
        problems.append(Problem(".env", f"cannot be read: {reason}", "make it a text file this user can read"))
        return {}
    bindings = list(parse_stream(io.StringIO(text)))
    bad = (_first_line_of(binding) for binding in bindings if binding.error)
    problems.extend(Problem(".env", f"line {line} is no setting", "write NAME=value") for line in bad)
    return {binding.key: binding.value or "" for binding in bindings if binding.key is not None}


def _first_line_of(binding: Binding) -> int:
    """The line a binding really begins on: the parser counts the empty ones before it as its own."""
    text = binding.original.string
    return binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")


NAME_PATTERN = r"[ \t]*[A-Za-z_][A-Za-z0-9_]*="
EMPTY_OR_COMMENT = re.compile(r"[ \t]*(#(.*[^\\])?)?")
PLAIN_ASSIGNMENT = re.compile(
    rf"""{NAME_PATTERN}(?![ \t]+\#)[ \t]*("[^"\\]*"|'[^'\\]*'|(?!["'])([^"'\\\s]|[ \t](?![ \t]*\#))*)[ \t]*""", re.ASCII
)
ONE_LINE_ASSIGNMENT = re.compile(rf"""{NAME_PATTERN}("([^"\\]|\\.)*"|'([^'\\]|\\.)*'|[^"'\\]|\\.)*""")


def lines_systemd_reads_differently(path: Path) -> list[Problem]:
    """Lines of a `.env` file that systemd's `EnvironmentFile=` and we may read differently.

    systemd knows no comment behind a value, undoes backslashes, drops what it cannot read, and tells the journal of it,
    words and all. So a setting of ours is written in the one way both understand; lines of others need only end where
    they seem to.
    """
    try:
        lines = path.read_bytes().decode("utf-8").replace("\r\n", "\n").split("\n")
    except (OSError, UnicodeDecodeError):
        return []  # told by `read_dotenv`
    hint = "write NAME=value: no comment behind it, no backslash, no spaces around the name, no byte order mark"
    return [
        Problem(".env", f"line {number} is read differently by systemd", hint)
        for number, line in enumerate(lines, 1)
        if not EMPTY_OR_COMMENT.fullmatch(line)
        and not (PLAIN_ASSIGNMENT if "IBKR" in line.upper() else ONE_LINE_ASSIGNMENT).fullmatch(line)
    ]


SECRET_NAMES = ("IBKR_BRIDGE_KEY", "IBKR_BRIDGE_KEY_PREVIOUS", "IBKR_BRIDGE_READONLY_KEY")
RELOAD_DIRECTORY_VARIABLE = "RELOAD_DIRECTORY"


def environment_at_reload(env: Mapping[str, str]) -> dict[str, str]:
    """The environment as a reload sees it.

    A process keeps the environment it began with, and the bridge's own user may read neither `.env` nor the sources of
    credentials. So root copies both into the directory RELOAD_DIRECTORY names: `env.began` when the bridge starts,
    `env` and the credentials at a reload. For keys and log level what stood in the first counts no more, and what
    stands in the second does; a name that came in another way (a drop-in, say) stays.
    """
    if not env.get(RELOAD_DIRECTORY_VARIABLE):
        return dict(env)
    directory = Path(env[RELOAD_DIRECTORY_VARIABLE])
    files = {f"{name}_FILE": str(directory / name) for name in SECRET_NAMES if (directory / name).exists()}
    if not files and not (directory / "env").exists():
        return dict(env)
    began, now = (read_dotenv(directory / name, []) for name in ("env.began", "env"))
    names = {*SECRET_NAMES, *(f"{name}_FILE" for name in SECRET_NAMES), "IBKR_BRIDGE_LOG_LEVEL"}
    kept = {name: value for name, value in env.items() if name not in names or name not in began}
    return {**kept, **files, **{name: value for name, value in now.items() if name in names}}


def systemd_env_copy(env: Mapping[str, str]) -> Path | None:
    """The copy of `.env` that systemd gave us our environment from: of a reload, else of the start."""
    if not env.get(RELOAD_DIRECTORY_VARIABLE):
        return None
    copies = [Path(env[RELOAD_DIRECTORY_VARIABLE]) / name for name in ("env", "env.began")]
    return next((copy for copy in copies if copy.exists()), None)


def read_secret_files(env: Mapping[str, str], names: Iterable[str], problems: list[Problem]) -> dict[str, str]:
    """Secrets handed over as files: `NAME_FILE` (Docker's way) or systemd's credentials, named like the setting."""
    found: dict[str, str] = {}
    for name in names:
        path = env.get(f"{name}_FILE") or _read_credential(env, name)
        if path is None or name in env:
            continue
        try:
            found[name] = Path(path).read_text("utf-8").strip()
        except (OSError, ValueError):
            problems.append(Problem(f"{name}_FILE", "the file cannot be read", "name a text file this user can read"))
    return found


def _read_credential(env: Mapping[str, str], name: str) -> str | None:
    directory = env.get("CREDENTIALS_DIRECTORY")
    path = Path(directory) / name if directory else None
    return str(path) if path is not None and is_file(path) else None
