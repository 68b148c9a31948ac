"""How texts from the environment become values, and how a text that cannot is complained about.

`EnvReader` never raises: it notes a `Problem` and goes on with the default, so that a person sees everything there
is to mend at once. A problem names the setting, what was found and what is allowed; the value of a secret is never
repeated, only its length.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal, InvalidOperation
from enum import Enum
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from ibkr_bridge.config.value_types import Problem, WeeklyWindow, is_file, is_loopback

E = TypeVar("E", bound=Enum)
T = TypeVar("T")

PLACEHOLDER = "REPLACE_WITH_REAL_KEY"
MIN_KEY_LENGTH = 32
MAX_KEY_LENGTH = 512  # a header line of the server takes 8 kB; nobody needs more
MAX_SOCKET_PATH_BYTES = 107  # bytes; what Linux takes for the path of one
GENKEY_HINT = "make one with: python bridge.py genkey"
OWN_PREFIXES = ("IBKR_BRIDGE_", "IBKR_GATEWAY_")  # other IBKR_* names may belong to the app that shares the file
KEY_LIKE = re.compile(r"[A-Za-z0-9_+=-]{24,}")
TRUE, FALSE = {"yes", "true", "on", "1"}, {"no", "false", "off", "0"}
NEVER_BRIDGED = {"sso", "logout", "clear", "oauth", "oauth2", "gw"}  # logins, log-outs, tokens: never through us
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
    """Reads one setting after the other and remembers what was wrong."""

    def __init__(self, env: Mapping[str, str], *, secrets: Iterable[str], problems: list[Problem]) -> None:
        self._env = env
        self._secrets = tuple(secrets)
        self._known: list[str] = []
        self._early = list(problems)
        self._problems: dict[str, list[Problem]] = {}

    def _raw(self, name: str) -> str:
        self._known.append(name)
        return self._env.get(name, "").strip()

    def peek(self, name: str) -> str:
        """What a setting says, for one that is judged in the light of another; it is not judged itself here."""
        return self._env.get(name, "").strip().lower()

    def _add_problem(self, name: str, found: str, allowed: str) -> None:
        self._problems.setdefault(name, []).append(Problem(name, found, allowed))

    def _printable_value(self, value: str) -> str:
        """The value as a person typed it, unless it could be a key that was pasted into the wrong line."""
        keys = [self._env.get(name, "").strip().lower() for name in self._secrets]
        if KEY_LIKE.search(value) or any(key and key in value.lower() for key in keys):
            return f"found what looks like a key ({len(value)} characters)"
        return f"found {value[:80]!r}"

    def parse(self, name: str, parse: Callable[[str], T], default: T | None) -> T | None:
        """A value read by `parse`, which raises ValueError where it cannot."""
        text = self._raw(name)
        if not text:
            return default
        try:
            return parse(text)
        except ValueError:
            self._add_problem(name, self._printable_value(text), FORMAT_HINTS.get(name, "it cannot be read"))
            return default

    def key(self, name: str, *, needed: bool = False) -> str:
        """A secret between callers and money: 32 characters at least, nothing a header cannot carry."""
        given = name in self._env
        key = self._raw(name)
        if key == PLACEHOLDER:
            self._add_problem(name, "found the placeholder of the example file", GENKEY_HINT)
        elif not key and (needed or given):
            self._add_problem(
                name,
                "found an empty value" if given else "not set",
                f"a key is needed; {GENKEY_HINT}" if needed else f"leave the line out, or {GENKEY_HINT}",
            )
        elif key and not MIN_KEY_LENGTH <= len(key) <= MAX_KEY_LENGTH:
            self._add_problem(
                name, f"found {len(key)} characters", f"{MIN_KEY_LENGTH} to {MAX_KEY_LENGTH} are needed; {GENKEY_HINT}"
            )
        elif not re.fullmatch(r"[!-~]*", key):
            self._add_problem(
                name, "found characters a header cannot carry", f"only visible ASCII without spaces; {GENKEY_HINT}"
            )
        self._check_keys_differ(name, key)
        return key

    def _check_keys_differ(self, name: str, key: str) -> None:
        twins = [other for other in self._secrets if other != name and key and self._env.get(other, "").strip() == key]
        if twins and name != self._secrets[0]:
            self._add_problem(name, f"found the same key as in {twins[0]}", "each key must differ from the others")

    def flag(self, name: str, *, default: bool) -> bool:
        """Yes or no."""
        text = self._raw(name).lower()
        if text and text not in TRUE | FALSE:
            self._add_problem(name, self._printable_value(text), "allowed: yes, no")
        return text in TRUE if text in TRUE | FALSE else default

    def choice(self, name: str, options: type[E], *, default: E) -> E:
        """One of an enum's values."""
        text = self._raw(name).lower()
        allowed = [str(option.value) for option in options]
        if text and text not in allowed:
            self._add_problem(name, self._printable_value(text), f"allowed: {', '.join(allowed)}")
        return options(text) if text in allowed else default

    def seconds(self, name: str, *, default: float, low: float, high: float) -> float:
        """A time span in seconds."""
        text = self._raw(name)
        try:
            value = float(text.removesuffix("s")) if text else default
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            self._add_problem(name, self._printable_value(text), f"allowed: {low:g} to {high:g} seconds")
            return default
        return value

    def amount(self, name: str) -> Decimal | None:
        """A quantity or a value above zero; None means no limit."""
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
                name, "found something that is no account number", "allowed: account numbers between commas"
            )
        return accounts

    def prefixes(self, name: str) -> tuple[str, ...]:
        """First path segments to open, separated by commas."""
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
        """Names or name:port, separated by commas."""
        hosts = [host.lower() for host in self._list(name)]
        if any(not re.fullmatch(r"(\[[0-9a-f:]+\]|[a-z0-9.-]+)(:\d{1,5})?", host) for host in hosts):
            self._add_problem(
                name, self._printable_value(",".join(hosts)), "allowed: host names, with or without a port, no scheme"
            )
        return hosts

    def windows(self, name: str) -> tuple[WeeklyWindow, ...]:
        """Times of the week between semicolons; IBKR's own published ones where nothing is said."""
        text = self._raw(name) or "daily 00:00-00:10; mon-fri 01:00-01:15; sat 18:00-24:00"
        try:
            return tuple(WeeklyWindow.parse(part) for part in text.split(";") if part.strip() not in ("", "none"))
        except ValueError:
            self._add_problem(
                name, self._printable_value(text), "allowed: 'mon-fri 01:00-01:15; sat 18:00-24:00', or none"
            )
            return ()

    def file(self, name: str) -> Path | None:
        """A file that must be there."""
        text = self._raw(name)
        if text and not is_file(Path(text)):
            self._add_problem(name, self._printable_value(text), "a file that can be read is needed")
        return Path(text) if text else None

    def socket(self, name: str) -> Path | None:
        """A Unix socket, which need not be there yet."""
        text = self._raw(name)
        if text and not (Path(text).is_absolute() and len(text.encode()) <= MAX_SOCKET_PATH_BYTES):
            self._add_problem(
                name,
                self._printable_value(text),
                f"an absolute path of {MAX_SOCKET_PATH_BYTES} bytes at most is needed",
            )
            return None
        return Path(text) if text else None

    def state_dir(self, name: str) -> Path | None:
        """The directory for cookies and the pause: ours, systemd's, or the user's."""
        text = self._raw(name)
        if text and not Path(text).is_absolute():
            self._add_problem(name, self._printable_value(text), "an absolute path is needed")
        systemd = self._env.get("STATE_DIRECTORY", "").split(":")[0]
        home = self._env.get("XDG_STATE_HOME") or (f"{self._env['HOME']}/.local/state" if self._env.get("HOME") else "")
        chosen = text or systemd or (f"{home}/ibkr-bridge" if home else "")
        return Path(chosen) if chosen else None

    def _address(self, name: str, text: str, schemes: tuple[str, ...], port: int) -> tuple[str, str, int] | None:
        try:
            parts = urlsplit(text)
            number = parts.port if parts.port is not None else port
        except ValueError:
            parts, number = urlsplit(""), 0
        extra = parts.path.strip("/") or parts.query or parts.fragment or parts.username or parts.password
        if parts.scheme not in schemes or not parts.hostname or extra:
            self._add_problem(
                name, self._printable_value(text), f"allowed: {schemes[0]}://HOST:PORT and nothing behind it"
            )
            return None
        return parts.scheme, parts.hostname, number

    def listen_address(self, name: str, *, default: str, remote: bool) -> tuple[str, str, int]:
        """Where to listen: loopback, unless remote callers were asked for."""
        address = self._address(name, self._raw(name) or default, ("http",), 8000)
        if address and not remote and not is_loopback(address[1]):
            self._add_problem(
                name,
                f"{self._printable_value(address[1])}, which other machines can reach",
                "use 127.0.0.1, or say IBKR_BRIDGE_ALLOW_REMOTE=yes if you mean it",
            )
        return address or ("http", "127.0.0.1", 8000)

    def gateway_address(self, name: str, *, default: str, pinned: bool) -> tuple[str, str, int]:
        """Where the Gateway is: elsewhere than on loopback only with a certificate that can be checked."""
        address = self._address(name, self._raw(name) or default, ("https", "http"), 5000)
        if address and not is_loopback(address[1]) and not (pinned and address[0] == "https"):
            self._add_problem(
                name,
                f"{self._printable_value(address[1])}, which is not this machine",
                "https and IBKR_GATEWAY_FINGERPRINT or IBKR_GATEWAY_CA_FILE are needed there",
            )
        return address or ("https", "127.0.0.1", 5000)

    def problems(self) -> list[Problem]:
        """Everything that was wrong, unknown names last."""
        known = [*self._known, *(f"{name}_FILE" for name in self._secrets)]
        ours = [name for name in self._env if name.startswith(OWN_PREFIXES) and name not in known]
        for name in sorted(ours):
            shown = name if re.fullmatch("[A-Z_]+", name) else "a name"  # NAME:key makes a key part of the name
            close = difflib.get_close_matches(name, known, n=1)
            advice = f"did you mean {close[0]}?" if close else "see .env.example"
            self._problems.setdefault(name, []).append(Problem(shown, "unknown setting", advice))
        order = [*dict.fromkeys(self._known), *sorted(ours)]
        return [*self._early, *(problem for name in order for problem in self._problems.get(name, []))]
