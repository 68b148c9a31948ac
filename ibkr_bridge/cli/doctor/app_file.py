"""The variables of an app, in a file such as `.env.production`: as the TypeScript client reads them."""

from __future__ import annotations

import io
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dotenv import dotenv_values

from ibkr_bridge.cli.bridge_access import summarise
from ibkr_bridge.client import BridgeClient, ClientError
from ibkr_bridge.config.env_reader import PLACEHOLDER
from ibkr_bridge.config.settings import Settings, SettingsError
from ibkr_bridge.file_trust import read_regular

TIMEOUT_S = 5.0
URL_NAME, KEY_NAME = "IBKR_BRIDGE_URL", "IBKR_BRIDGE_KEY"
PUBLIC_PREFIXES = ("NEXT_PUBLIC_", "VITE_", "REACT_APP_", "PUBLIC_", "EXPO_PUBLIC_")  # a build puts these into pages
URL_PATTERN = re.compile(r"https?://(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+)(:[0-9]{1,5})?")
PUBLIC_KEY_NAME = re.compile(r"IBKR.*KEY|BRIDGE.*KEY")


@dataclass(frozen=True)
class AppFacts:
    """What the file of an app says. No value of it is here."""

    path: str
    error: str = ""
    """Why it cannot be read."""
    is_readable_by_others: bool = False
    public_names: tuple[str, ...] = ()
    """Variables with a key that a build would put into pages."""
    url: str = field(default="", repr=False)
    url_problem: str = ""
    key_problem: str = ""
    has_key: bool = False
    key_error: tuple[str, str] = ("", "")
    """What the bridge said to the key, and what to do."""
    may_trade: bool | None = None
    """Whether it is a full key; None if it is neither of the keys in the settings."""
    is_tried: bool = False
    """Whether the bridge was asked."""


def read_app(path: Path, settings: Settings) -> AppFacts:
    """Read the file, and try its key on the bridge that it names."""
    try:
        text, mode = read_regular(path).decode(), path.stat().st_mode
    except FileNotFoundError:
        return AppFacts(str(path), error="there is no such file")
    except (OSError, UnicodeDecodeError) as exc:
        return AppFacts(
            str(path), error=exc.strerror if isinstance(exc, OSError) and exc.strerror else "it is not text"
        )
    values = {name: value or "" for name, value in dotenv_values(stream=io.StringIO(text), interpolate=False).items()}
    url, key = values.get(URL_NAME, ""), values.get(KEY_NAME, "")
    facts = AppFacts(
        str(path),
        is_readable_by_others=bool(mode & stat.S_IROTH),
        public_names=tuple(_public_keys(values, settings)),
        url=url,
        url_problem=url_problem(url),
        key_problem=key_problem(key),
        has_key=bool(key),
        may_trade=_scope_of(key, settings),
    )
    return facts if facts.url_problem or facts.key_problem else _try_key(facts, key)


def _public_keys(values: Mapping[str, str], settings: Settings) -> Iterator[str]:
    keys = {*settings.secrets, values.get(KEY_NAME) or None}
    for name, value in values.items():
        if name.startswith(PUBLIC_PREFIXES) and (value in keys or (value and PUBLIC_KEY_NAME.search(name))):
            yield name


def url_problem(url: str) -> str:
    """Why the client of the app would refuse an address; empty if it accepts it."""
    if not url:
        return f"{URL_NAME} is missing"
    if url.endswith("/"):
        return f"{URL_NAME} has a slash too many: it must end after the port"
    return "" if URL_PATTERN.fullmatch(url) else f"{URL_NAME} is not an address such as http://127.0.0.1:8000"


def key_problem(key: str) -> str:
    """Why the client of the app would refuse a key; empty if it accepts it."""
    if not key:
        return f"{KEY_NAME} is missing"
    if key == PLACEHOLDER:
        return f"{KEY_NAME} is still the example"
    return "" if re.fullmatch("[!-~]+", key) else f"{KEY_NAME} has a space or a character that no key has"


def _scope_of(key: str, settings: Settings) -> bool | None:
    if key and key == settings.readonly_key:
        return False
    return True if key in settings.secrets else None


def _try_key(facts: AppFacts, key: str) -> AppFacts:
    error, is_tried = ("", ""), True
    try:
        with BridgeClient(facts.url, key, timeout=TIMEOUT_S, repeats=0) as client:
            client.get("/session")  # the cheapest route that wants a key
    except ClientError as exc:
        error = summarise(exc)
    except SettingsError:
        is_tried = False  # an address that means something only where the app runs, such as the name of a container
    return AppFacts(**{**vars(facts), "key_error": error, "is_tried": is_tried})
