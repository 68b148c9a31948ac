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

ROOT = Path(__file__).resolve().parents[2]


def dotenv_path() -> Path:
    """The `.env` file: in the working directory, else beside `bridge.py`."""
    here = Path.cwd() / ".env"
    return here if here.exists() else ROOT / ".env"


def read_dotenv(path: Path, problems: list[Problem]) -> dict[str, str]:
    """The lines of a `.env` file, taken literally; a file that is not there is an empty one."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8 text"
        problems.append(Problem(".env", f"cannot be read: {why}", "make it a text file this user can read"))
        return {}
    bindings = list(parse_stream(io.StringIO(text)))
    bad = (_line(binding) for binding in bindings if binding.error)
    problems.extend(Problem(".env", f"line {line} is no setting", "write NAME=value") for line in bad)
    return {binding.key: binding.value or "" for binding in bindings if binding.key is not None}


def _line(binding: Binding) -> int:
    """The line a binding really begins on: the parser counts the empty ones before it as its own."""
    text = binding.original.string
    return binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")


NAME = r"[ \t]*[A-Za-z_][A-Za-z0-9_]*="
NOTHING = re.compile(r"[ \t]*(#(.*[^\\])?)?")
PLAIN = re.compile(
    rf"""{NAME}(?![ \t]+\#)[ \t]*("[^"\\]*"|'[^'\\]*'|(?!["'])([^"'\\\s]|[ \t](?![ \t]*\#))*)[ \t]*""", re.ASCII
)
ON_ONE_LINE = re.compile(rf"""{NAME}("([^"\\]|\\.)*"|'([^'\\]|\\.)*'|[^"'\\]|\\.)*""")


def unclear(path: Path) -> list[Problem]:
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
        if not NOTHING.fullmatch(line) and not (PLAIN if "IBKR" in line.upper() else ON_ONE_LINE).fullmatch(line)
    ]


SECRETS = ("IBKR_BRIDGE_KEY", "IBKR_BRIDGE_KEY_PREVIOUS", "IBKR_BRIDGE_READONLY_KEY")
HANDED_OVER = "RELOAD_DIRECTORY"


def refreshed(env: Mapping[str, str]) -> dict[str, str]:
    """The environment as a reload sees it.

    A process keeps the environment it began with, and the bridge's own user may read neither `.env` nor the sources of
    credentials. So root copies both into the directory RELOAD_DIRECTORY names: `env.began` when the bridge starts,
    `env` and the credentials at a reload. For keys and log level what stood in the first counts no more, and what
    stands in the second does; a name that came in another way (a drop-in, say) stays.
    """
    if not env.get(HANDED_OVER):
        return dict(env)
    directory = Path(env[HANDED_OVER])
    files = {f"{name}_FILE": str(directory / name) for name in SECRETS if (directory / name).exists()}
    if not files and not (directory / "env").exists():
        return dict(env)
    began, now = (read_dotenv(directory / name, []) for name in ("env.began", "env"))
    names = {*SECRETS, *(f"{name}_FILE" for name in SECRETS), "IBKR_BRIDGE_LOG_LEVEL"}
    kept = {name: value for name, value in env.items() if name not in names or name not in began}
    return {**kept, **files, **{name: value for name, value in now.items() if name in names}}


def handed_over(env: Mapping[str, str]) -> Path | None:
    """The copy of `.env` that systemd gave us our environment from: of a reload, else of the start."""
    if not env.get(HANDED_OVER):
        return None
    copies = [Path(env[HANDED_OVER]) / name for name in ("env", "env.began")]
    return next((copy for copy in copies if copy.exists()), None)


def read_secret_files(env: Mapping[str, str], names: Iterable[str], problems: list[Problem]) -> dict[str, str]:
    """Secrets handed over as files: `NAME_FILE` (Docker's way) or systemd's credentials, named like the setting."""
    found: dict[str, str] = {}
    for name in names:
        path = env.get(f"{name}_FILE") or _credential(env, name)
        if path is None or name in env:
            continue
        try:
            found[name] = Path(path).read_text("utf-8").strip()
        except (OSError, ValueError):
            problems.append(Problem(f"{name}_FILE", "the file cannot be read", "name a text file this user can read"))
    return found


def _credential(env: Mapping[str, str], name: str) -> str | None:
    directory = env.get("CREDENTIALS_DIRECTORY")
    path = Path(directory) / name if directory else None
    return str(path) if path is not None and is_file(path) else None
