"""Parse the texts of the environment into values and collect what is wrong with them.

`EnvReader` never raises. It records a `Problem` and returns the default, so that a person sees all problems at once. A
problem names the setting, what was found and what is allowed. It never has the value of a secret, only its length.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal, InvalidOperation
from enum import Enum
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from ibkr_bridge.config.near_misses import misspelt_protective_setting
from ibkr_bridge.config.sources import SECRET_FILE_NAMES
from ibkr_bridge.config.value_types import Problem, WeeklyMoment, WeeklyWindow, is_file, is_loopback
from ibkr_bridge.program_name import name_commands

E = TypeVar("E", bound=Enum)
T = TypeVar("T")

PLACEHOLDER = "REPLACE_WITH_REAL_KEY"
DEMO_KEY = "demo-key-not-secret-0123456789abcdef"
"""The key of `bridge.py demo`. It is the same everywhere, so a bridge in front of a real Gateway refuses it."""
MIN_KEY_LENGTH = 32
MAX_KEY_LENGTH = 512  # far below the 8 kB that the server accepts for a header line
MAX_SOCKET_PATH_BYTES = 107  # the limit of Linux, `sun_path` without its final zero byte
GENKEY_HINT = name_commands("make one with: python bridge.py genkey")
OWN_PREFIXES = ("IBKR_BRIDGE_", "IBKR_GATEWAY_")  # an app may share the file, and other IBKR_* names may be its own
HOST_PATTERN = re.compile(r"(\[[0-9a-f:]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?")
USER_INFO = re.compile(r"//[^/\s]*@")  # a user and a password in an address
KEY_LIKE = re.compile(r"[A-Za-z0-9_+=-]{24,}")
TRUE, FALSE = {"yes", "true", "on", "1"}, {"no", "false", "off", "0"}
IBKR_DOMAINS = (".ibkr.com", ".interactivebrokers.com", ".ibkr.com.cn")
# Logins, log-outs and tokens: no caller reaches them through the bridge.
NEVER_BRIDGED = {"sso", "logout", "clear", "oauth", "oauth2", "gw"}
OWN_ROUTE_PREFIXES = {
    "health",
    "livez",
    "readyz",
    "gateway",
    "metrics",
    "docs",
    "orders",
    "stream",
    "auth",
    "v1",
    "ws",
    "status",
}

FORMAT_HINTS: Mapping[str, str] = {
    "IBKR_GATEWAY_FINGERPRINT": "give the SHA-256 of the Gateway's certificate, 64 hex digits "
    "(openssl s_client -connect HOST:5000 </dev/null | openssl x509 -noout -fingerprint -sha256)",
}


class EnvReader:
    """Reads settings one by one and collects their problems.

    Args:
        env: names and values.
        secrets: the names of settings whose values no message may contain.
        problems: those of the sources, which come first in `problems()`.
        others: the names of settings that another program reads from the same sources.
    """

    def __init__(
        self, env: Mapping[str, str], *, secrets: Iterable[str], problems: list[Problem], others: Iterable[str] = ()
    ) -> None:
        self._env = env
        self._secrets = tuple(secrets)
        self._others = tuple(others)
        self._names_read: list[str] = []
        self._source_problems = list(problems)
        self._problems: dict[str, list[Problem]] = {}

    def _raw(self, name: str) -> str:
        self._names_read.append(name)
        return self._env.get(name, "").strip()

    def peek(self, name: str) -> str:
        """The lower-case text of a setting on which the check of another one depends. It is not checked itself."""
        return self._env.get(name, "").strip().lower()

    def _add_problem(self, name: str, found: str, allowed: str) -> None:
        self._problems.setdefault(name, []).append(Problem(name, found, allowed))

    def _printable_value(self, value: str) -> str:
        """The value as it was typed, or only its length if it may be a key in the wrong line."""
        if KEY_LIKE.search(value) or self._has_secret(value):
            return f"found what looks like a key ({len(value)} characters)"
        return f"found {USER_INFO.sub('//…@', value)[:80]!r}"

    def _has_secret(self, value: str) -> bool:
        """Whether the value of a secret setting stands in it."""
        keys = [self._env.get(name, "").strip().lower() for name in self._secrets]
        return any(key and key in value.lower() for key in keys)

    def parse(self, name: str, parse: Callable[[str], T], default: T | None) -> T | None:
        """The value that `parse` makes of the text; the default if it raises ValueError or if nothing is set."""
        text = self._raw(name)
        if not text:
            return default
        try:
            return parse(text)
        except ValueError:
            self._add_problem(name, self._printable_value(text), FORMAT_HINTS.get(name, "it cannot be read"))
            return default

    def key(self, name: str, *, is_required: bool = False) -> str:
        """A key of callers: at least 32 characters, all of which a header can carry."""
        is_set = name in self._env
        key = self._raw(name)
        if key == PLACEHOLDER:
            self._add_problem(name, "found the placeholder of the example file", GENKEY_HINT)
        elif not key and (is_required or is_set):
            self._add_problem(
                name,
                "found an empty value" if is_set else "not set",
                f"a key is needed; {GENKEY_HINT}" if is_required else f"leave the line out, or {GENKEY_HINT}",
            )
        elif key and not MIN_KEY_LENGTH <= len(key) <= MAX_KEY_LENGTH:
            self._add_problem(
                name, f"found {len(key)} characters", f"{MIN_KEY_LENGTH} to {MAX_KEY_LENGTH} are needed; {GENKEY_HINT}"
            )
        elif not re.fullmatch(r"[!-~]*", key):
            self._add_problem(
                name, "found characters that a header cannot carry", f"only visible ASCII without spaces; {GENKEY_HINT}"
            )
        self._check_keys_differ(name, key)
        return key

    def _check_keys_differ(self, name: str, key: str) -> None:
        same = [other for other in self._secrets if other != name and key and self._env.get(other, "").strip() == key]
        if same and name != self._secrets[0]:
            self._add_problem(name, f"found the same key as in {same[0]}", "each key must differ from the others")

    def flag(self, name: str, *, default: bool) -> bool:
        """A boolean: yes or no, true or false, on or off, 1 or 0."""
        text = self._raw(name).lower()
        if text and text not in TRUE | FALSE:
            self._add_problem(name, self._printable_value(text), "allowed: yes, no")
        return text in TRUE if text in TRUE | FALSE else default

    def choice(self, name: str, options: type[E], *, default: E) -> E:
        """A member of an enum, by its value."""
        text = self._raw(name).lower()
        allowed = [str(option.value) for option in options]
        if text and text not in allowed:
            self._add_problem(name, self._printable_value(text), f"allowed: {', '.join(allowed)}")
        return options(text) if text in allowed else default

    def seconds(self, name: str, *, default: float, low: float, high: float) -> float:
        """A number of seconds between `low` and `high`; a final `s` is allowed."""
        text = self._raw(name)
        try:
            value = float(text.removesuffix("s")) if text else default
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            self._add_problem(name, self._printable_value(text), f"allowed: {low:g} to {high:g} seconds")
            return default
        return value

    def number(self, name: str, *, default: int, low: int, high: int) -> int:
        """A whole number between `low` and `high`."""
        text = self._raw(name)
        if text and not (re.fullmatch(r"[0-9]{1,9}", text) and low <= int(text) <= high):
            self._add_problem(name, self._printable_value(text), f"allowed: a whole number from {low} to {high}")
            return default
        return int(text) if text else default

    def amount(self, name: str) -> Decimal | None:
        """A limit above zero for a quantity or a value; None means no limit."""
        text = self._raw(name)
        if not text:
            return None
        try:
            value = Decimal(text)
        except InvalidOperation:
            value = Decimal("NaN")
        if not value.is_finite() or value <= 0:
            self._add_problem(name, self._printable_value(text), "allowed: a number above 0, or nothing for no limit")
            return None
        return value

    def _list(self, name: str) -> list[str]:
        return [item.strip() for item in self._raw(name).split(",") if item.strip()]

    def accounts(self, name: str) -> list[str]:
        """Account numbers, separated by commas."""
        accounts = [account.upper() for account in self._list(name)]
        if self._raw(name) and not accounts:
            self._add_problem(
                name, "found no account between the commas", "allowed: account numbers, or nothing for all"
            )
        if any(not re.fullmatch(r"[A-Z]{1,3}[A-Z0-9]{3,14}", account) for account in accounts):
            self._add_problem(
                name, "found something that is not an account number", "allowed: account numbers, separated by commas"
            )
        return accounts

    def prefixes(self, name: str) -> tuple[str, ...]:
        """First path segments that are bridged too, separated by commas."""
        prefixes = tuple(prefix.strip("/") for prefix in self._list(name))
        for prefix in prefixes:
            if prefix in NEVER_BRIDGED:
                self._add_problem(name, f"found '{prefix}'", "logins, log-outs and tokens can never be opened")
            elif prefix in OWN_ROUTE_PREFIXES or not re.fullmatch(r"[a-z][a-z0-9]{0,19}", prefix):
                self._add_problem(
                    name, self._printable_value(prefix), "allowed: names such as trsrv, pa, fyi, hmds, md, portfolio2"
                )
        return prefixes

    def hosts(self, name: str) -> list[str]:
        """Host names with or without a port, separated by commas; Docker's names may have `_`, and so may keys."""
        hosts = [host.lower() for host in self._list(name)]
        if any(HOST_PATTERN.fullmatch(host) is None or self._has_secret(host) for host in hosts):
            self._add_problem(
                name, self._printable_value(",".join(hosts)), "allowed: host names, with or without a port, no scheme"
            )
        return hosts

    def windows(self, name: str) -> tuple[WeeklyWindow, ...]:
        """Maintenance windows, separated by semicolons; by default those that IBKR publishes."""
        text = self._raw(name) or "daily 00:00-00:10; mon-fri 01:00-01:15; sat 18:00-24:00"
        try:
            return tuple(WeeklyWindow.parse(part) for part in text.split(";") if part.strip() not in ("", "none"))
        except ValueError:
            self._add_problem(
                name, self._printable_value(text), "allowed: 'mon-fri 01:00-01:15; sat 18:00-24:00', or none"
            )
            return ()

    def moments(self, name: str, default: str) -> tuple[WeeklyMoment, ...]:
        """Times of the week, separated by semicolons; at least one."""
        text = self._raw(name) or default
        try:
            moments = tuple(WeeklyMoment.parse(part) for part in text.split(";") if part.strip())
        except ValueError:
            moments = ()
        if not moments:
            self._add_problem(name, self._printable_value(text), "allowed: 'daily 00:00; sun 01:00 America/New_York'")
        return moments or (WeeklyMoment.parse(default),)

    def file(self, name: str) -> Path | None:
        """A file that must exist."""
        text = self._raw(name)
        if text and not is_file(Path(text)):
            self._add_problem(name, self._printable_value(text), "name a file that this user can read")
        return Path(text) if text else None

    def path(self, name: str) -> Path | None:
        """An absolute path, which need not exist."""
        text = self._raw(name)
        if text and not Path(text).is_absolute():
            self._add_problem(name, self._printable_value(text), "an absolute path is needed")
            return None
        return Path(text) if text else None

    def credential_path(self, name: str) -> Path | None:
        """The path of a secret file: that of the setting, else systemd's credential of this name."""
        path, credentials = self.path(name), self._env.get("CREDENTIALS_DIRECTORY")
        return Path(credentials) / name if path is None and credentials else path

    def database_url(self, name: str) -> str | None:
        """The address of a PostgreSQL database. It may have a password, so no message shows it."""
        text = self._raw(name)
        if text and not text.startswith(("postgres://", "postgresql://")):
            self._add_problem(name, f"found another text ({len(text)} characters)", "allowed: postgresql://…")
            return None
        return text or None

    def socket(self, name: str) -> Path | None:
        """The absolute path of a Unix socket, which need not exist yet."""
        text = self._raw(name)
        if text and not (Path(text).is_absolute() and len(text.encode()) <= MAX_SOCKET_PATH_BYTES):
            self._add_problem(
                name,
                self._printable_value(text),
                f"an absolute path of at most {MAX_SOCKET_PATH_BYTES} bytes is needed",
            )
            return None
        return Path(text) if text else None

    def state_dir(self, name: str) -> Path | None:
        """The state directory: that of the setting, else of systemd, else of the user; None if none is known."""
        text = self._raw(name)
        if text and not Path(text).is_absolute():
            self._add_problem(name, self._printable_value(text), "an absolute path is needed")
        systemd = self._env.get("STATE_DIRECTORY", "").split(":")[0]
        home = self._env.get("XDG_STATE_HOME") or (f"{self._env['HOME']}/.local/state" if self._env.get("HOME") else "")
        path = text or systemd or (f"{home}/ibkr-bridge" if home else "")
        return Path(path) if path else None

    def _address(self, name: str, text: str, schemes: tuple[str, ...], port: int) -> tuple[str, str, int] | None:
        try:
            parts = urlsplit(text)
            number = parts.port if parts.port is not None else port
        except ValueError:
            parts, number = urlsplit(""), 0
        extra = parts.path.strip("/") or parts.query or parts.fragment or parts.username or parts.password
        if parts.scheme not in schemes or not parts.hostname or extra:
            self._add_problem(name, self._printable_value(text), f"allowed: {schemes[0]}://HOST:PORT without a path")
            return None
        return parts.scheme, parts.hostname, number

    def listen_address(self, name: str, *, default: str, remote: bool) -> tuple[str, str, int]:
        """Scheme, host and port to listen on: loopback, unless other machines may connect."""
        address = self._address(name, self._raw(name) or default, ("http",), 8000)
        if address and not remote and not is_loopback(address[1]):
            self._add_problem(
                name,
                f"{self._printable_value(address[1])}, which other machines can reach",
                "use 127.0.0.1, or set IBKR_BRIDGE_ALLOW_REMOTE=yes if this is intended",
            )
        return address or ("http", "127.0.0.1", 8000)

    def gateway_address(self, name: str, *, default: str, pinned: bool) -> tuple[str, str, int]:
        """Scheme, host and port of the Gateway. Off loopback its certificate must be pinned, so https is required."""
        address = self._address(name, self._raw(name) or default, ("https", "http"), 5000)
        if address and not is_loopback(address[1]) and not (pinned and address[0] == "https"):
            self._add_problem(
                name,
                f"{self._printable_value(address[1])}, which is not this machine",
                "https and IBKR_GATEWAY_FINGERPRINT or IBKR_GATEWAY_CA_FILE are needed there",
            )
        return address or ("https", "127.0.0.1", 5000)

    def api_address(self, name: str, *, default: str, pinned: bool) -> tuple[str, str, int]:
        """Scheme, host and port of IBKR's Web API: a host of IBKR by https, or a simulated one on this machine.

        Elsewhere the certificate must be pinned: whoever answers there gets signed orders.
        """
        address = self._address(name, self._raw(name) or default, ("https", "http"), 443)
        if address and not is_loopback(address[1]):
            is_trusted = pinned or address[1].endswith(IBKR_DOMAINS)
            if address[0] != "https" or not is_trusted:
                found = self._printable_value(self._raw(name))
                self._add_problem(name, found, "https and a host of ibkr.com, or IBKR_BRIDGE_API_CA_FILE, are needed")
        return address or ("https", "api.ibkr.com", 443)

    def local_address(self, name: str) -> str | None:
        """An address of this machine, as numbers."""
        text = self._raw(name)
        if not text:
            return None
        try:
            return str(ipaddress.ip_address("" if "%" in text else text))
        except ValueError:
            self._add_problem(name, self._printable_value(text), "allowed: an IPv4 or IPv6 address of this machine")
            return None

    @property
    def names_read(self) -> tuple[str, ...]:
        """The names of all settings that were read, in this order."""
        return tuple(dict.fromkeys(self._names_read))

    def problems(self) -> list[Problem]:
        """All problems: those of the sources, then in the order of reading, then unknown names."""
        files = (f"{name}_FILE" for name in SECRET_FILE_NAMES)
        all_names = [*self._names_read, *files, *self._others]
        meant = {name: misspelt_protective_setting(name, all_names) for name in self._env if name not in all_names}
        unknown = sorted(name for name, setting in meant.items() if setting or name.startswith(OWN_PREFIXES))
        for name in unknown:
            # With `NAME:key` the key is part of the name.
            is_plain = re.fullmatch("[A-Za-z_-]{1,40}" if meant[name] else "[A-Z_]+", name)
            printable = name if is_plain else "a name"
            similar = meant[name] or next(iter(difflib.get_close_matches(name, all_names, n=1)), None)
            advice = f"did you mean {similar}?" if similar else "see .env.example"
            self._problems.setdefault(name, []).append(Problem(printable, "unknown setting", advice))
        order = [*dict.fromkeys(self._names_read), *unknown]
        return [*self._source_problems, *(problem for name in order for problem in self._problems.get(name, []))]
