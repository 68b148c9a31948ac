"""All settings of the bridge.

`load_settings` merges the environment, the `.env` file and the secret files of systemd or Docker. `Settings.from_env`
parses the result and reports all problems at once. No other module reads settings from the environment. How a text
becomes a value is in `config/env_reader.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import timedelta
from decimal import Decimal
from enum import Enum
from functools import cache
from pathlib import Path

from ibkr_bridge.config.alert_settings import ALERT_NAMES
from ibkr_bridge.config.env_reader import DEMO_KEY, GENKEY_HINT, TRUE, EnvReader
from ibkr_bridge.config.sources import (
    LOG_NAMES,
    SECRET_FILE_NAMES,
    SECRET_NAMES,
    lines_systemd_reads_differently,
    read_dotenv,
    read_secret_files,
    systemd_env_copy,
)
from ibkr_bridge.config.value_types import Fingerprint, Problem, WeeklyMoment, WeeklyWindow
from ibkr_bridge.program_name import name_commands

MAIN = "main"
"""The profile that the environment describes."""
PUBLIC_KEY = "found the key of `bridge.py demo`, which everybody knows"


class Mode(Enum):
    """Which accounts may be traded."""

    PAPER = "paper"
    LIVE = "live"


class Compete(Enum):
    """What to do when the same user signs in elsewhere."""

    RECLAIM = "reclaim"
    YIELD = "yield"


class RoadKind(Enum):
    """How IBKR is reached."""

    GATEWAY = "gateway"
    """Through the Client Portal Gateway."""
    OAUTH = "oauth"
    """IBKR's Web API directly, without a Gateway."""


class LogFormat(Enum):
    """The format of log lines. `auto` means console on a terminal, fields in systemd's journal, JSON elsewhere."""

    AUTO = "auto"
    CONSOLE = "console"
    JSON = "json"


class LogLevel(Enum):
    """The least important level that is written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class AccessLog(Enum):
    """Which requests have a line in the log."""

    ALL = "all"
    ERRORS = "errors"
    NONE = "none"


class Region(Enum):
    """The part of the world whose midnight ends an IBKR session."""

    AMERICA = "america"
    EUROPE = "europe"
    ASIA = "asia"


class SettingsError(Exception):
    """The settings cannot be used. `problems` has one entry for each error, in the order of `.env.example`."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


@dataclass(frozen=True)
class Address:
    """A scheme, a host and a port."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


@dataclass(frozen=True)
class Settings:
    """The settings of one process. Secrets are not in `repr`."""

    url: Address
    """Where to listen. An app uses the same setting as the bridge's address."""
    key: str = field(repr=False)
    """The full key: reads and trades."""
    key_previous: str | None = field(repr=False)
    """The full key before the last rotation, still accepted."""
    readonly_key: str | None = field(repr=False)
    """A key that only reads."""
    gateway_url: Address
    """The Client Portal Gateway."""
    gateway_socket: Path | None
    """A Unix socket that leads to the Gateway; None if there is none."""
    gateway_fingerprint: bytes | None
    """SHA-256 of the Gateway's certificate, 32 bytes."""
    gateway_ca_file: Path | None
    """A file of CA certificates that sign the Gateway's certificate."""
    road: RoadKind
    """How IBKR is reached."""
    api_url: Address
    """IBKR's Web API, for the road `oauth`."""
    api_ca_file: Path | None
    """A file of CA certificates that sign the certificate of that API; None means those of the system."""
    api_rate: int
    """Calls a second that IBKR allows this username there."""
    portfolio_only: bool
    """Whether the brokerage session is never opened: no orders, no quotes, and no other program is disturbed."""
    local_address: str | None
    """The address of this machine from which IBKR is reached; None leaves the choice to the system."""
    trading_mode: Mode
    """`PAPER` refuses every change to an account that is not known to be a paper account."""
    read_only: bool
    """Whether every change at IBKR is refused, for all keys."""
    allow_paid_snapshots: bool
    """Whether calls are sent for which IBKR charges each time."""
    allowed_accounts: frozenset[str] = field(repr=False)
    """Accounts that may be traded; empty means all."""
    max_order_quantity: Decimal | None
    """Largest size of one order, in shares or contracts; None means no limit."""
    max_order_value: Decimal | None
    """Largest value of one order, in the base currency of its account; None means no limit."""
    compete: Compete
    """Whether to take the session back from another login."""
    extra_prefixes: tuple[str, ...]
    """First path segments that are bridged in addition to iserver, portfolio and marketdata."""
    state_dir: Path | None
    """The directory of the journal, the cookies and the trading pause; None if the machine has no place for it."""
    profiles: Path | None
    """A file, or a directory of files, with the settings of further profiles; None if there is none."""
    vault_keys: Path | None
    """The file with the keys that seal the credentials of profiles; it need not exist."""
    database_url: str | None = field(repr=False)
    """The PostgreSQL database with the sealed credentials; None means files in the state directory."""
    max_wait_s: float
    """Longest wait for a slot, in seconds."""
    gateway_timeout_s: float
    """Longest wait for the head of a response of the Gateway, in seconds."""
    gateway_watch_s: float
    """Interval between two checks of the session, in seconds."""
    add_coid: bool
    """Whether orders without a cOID get one, by which reconciliation can find them."""
    region: Region
    """The region whose midnight ends the session."""
    maintenance: tuple[WeeklyWindow, ...]
    """IBKR's known maintenance windows, in the local time of the region."""
    resets: tuple[WeeklyMoment, ...]
    """When IBKR ends every login; in the local time of the region, unless a zone is named."""
    remind_before: timedelta
    """How long before that a person is reminded; zero for no reminder."""
    log_level: LogLevel
    """The least important level that is written."""
    log_format: LogFormat
    """The format of log lines."""
    access_log: AccessLog
    """Which requests have a line in the log."""
    allow_remote: bool
    """Whether other machines may connect."""
    allowed_hosts: frozenset[str]
    """Further names that are accepted in the Host header."""
    profile: str = MAIN
    """The profile that these settings describe."""
    user: str = ""
    """Whose profile it is, in the words of the app; empty if nobody said."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """All keys, for redaction."""
        return tuple(key for key in (self.key, self.key_previous, self.readonly_key) if key)

    def with_gateway(self, gateway: str) -> Settings:
        """The same settings for another Gateway on this machine, such as a simulated one."""
        scheme, _, rest = gateway.partition("://")
        host, _, port = rest.rpartition(":")
        return replace(self, gateway_url=Address(scheme, host, int(port)), gateway_socket=None)

    @classmethod
    def from_env(cls, env: Mapping[str, str], problems: list[Problem] | None = None) -> Settings:
        """Read every setting, then report all problems at once.

        Args:
            env: names and values, merged from all sources.
            problems: those of the sources, such as a file that cannot be read.

        Raises:
            SettingsError: one problem for each thing to correct, in the order of the example file.
        """
        read = EnvReader(env, secrets=SECRET_NAMES, problems=problems or [], others=ALERT_NAMES)
        settings = cls._read(read)
        if all_problems := read.problems():
            raise SettingsError(all_problems)
        return settings

    @classmethod
    def _read(cls, read: EnvReader) -> Settings:
        """Read every setting, in the order of the fields."""
        remote = read.peek("IBKR_BRIDGE_ALLOW_REMOTE") in TRUE
        pinned = bool(read.peek("IBKR_GATEWAY_FINGERPRINT") or read.peek("IBKR_GATEWAY_CA_FILE"))
        api_pinned = bool(read.peek("IBKR_BRIDGE_API_CA_FILE"))
        return cls(
            url=Address(*read.listen_address("IBKR_BRIDGE_URL", default="http://127.0.0.1:8000", remote=remote)),
            key=read.key("IBKR_BRIDGE_KEY", is_required=True),
            key_previous=read.key("IBKR_BRIDGE_KEY_PREVIOUS") or None,
            readonly_key=read.key("IBKR_BRIDGE_READONLY_KEY") or None,
            gateway_url=Address(
                *read.gateway_address("IBKR_GATEWAY_URL", default="https://127.0.0.1:5000", pinned=pinned)
            ),
            gateway_socket=read.socket("IBKR_GATEWAY_SOCKET"),
            gateway_fingerprint=read.parse("IBKR_GATEWAY_FINGERPRINT", Fingerprint.parse, default=None),
            gateway_ca_file=read.file("IBKR_GATEWAY_CA_FILE"),
            road=read.choice("IBKR_BRIDGE_ROAD", RoadKind, default=RoadKind.GATEWAY),
            api_url=Address(
                *read.api_address("IBKR_BRIDGE_API_URL", default="https://api.ibkr.com", pinned=api_pinned)
            ),
            api_ca_file=read.file("IBKR_BRIDGE_API_CA_FILE"),
            api_rate=int(read.number("IBKR_BRIDGE_API_RATE", default=10, low=1, high=50)),
            portfolio_only=read.flag("IBKR_BRIDGE_PORTFOLIO_ONLY", default=False),
            local_address=read.local_address("IBKR_BRIDGE_LOCAL_ADDRESS"),
            trading_mode=read.choice("IBKR_TRADING_MODE", Mode, default=Mode.PAPER),  # the safe default
            read_only=read.flag("IBKR_READ_ONLY", default=False),
            allow_paid_snapshots=read.flag("IBKR_ALLOW_PAID_SNAPSHOTS", default=False),
            allowed_accounts=frozenset(read.accounts("IBKR_ALLOWED_ACCOUNTS")),
            max_order_quantity=read.amount("IBKR_MAX_ORDER_QUANTITY"),
            max_order_value=read.amount("IBKR_MAX_ORDER_VALUE"),
            compete=read.choice("IBKR_COMPETE", Compete, default=Compete.RECLAIM),
            extra_prefixes=read.prefixes("IBKR_BRIDGE_EXTRA_PREFIXES"),
            state_dir=read.state_dir("IBKR_BRIDGE_STATE_DIR"),
            profiles=read.path("IBKR_BRIDGE_PROFILES"),
            vault_keys=read.credential_path("IBKR_BRIDGE_VAULT_KEYS"),
            database_url=read.database_url("IBKR_BRIDGE_DATABASE_URL"),
            max_wait_s=read.seconds("IBKR_BRIDGE_MAX_WAIT", default=5.0, low=0, high=60),
            gateway_timeout_s=read.seconds("IBKR_GATEWAY_TIMEOUT", default=15.0, low=1, high=120),
            gateway_watch_s=read.seconds("IBKR_GATEWAY_WATCH", default=3.0, low=1, high=5),
            add_coid=read.flag("IBKR_BRIDGE_ADD_COID", default=True),
            region=read.choice("IBKR_BRIDGE_REGION", Region, default=Region.AMERICA),
            maintenance=read.windows("IBKR_BRIDGE_MAINTENANCE"),
            resets=read.moments("IBKR_BRIDGE_RESETS", default="daily 00:00"),
            remind_before=timedelta(minutes=read.seconds("IBKR_BRIDGE_REMIND_BEFORE", default=30.0, low=0, high=720)),
            log_level=read.choice("IBKR_BRIDGE_LOG_LEVEL", LogLevel, default=LogLevel.INFO),
            log_format=read.choice("IBKR_BRIDGE_LOG_FORMAT", LogFormat, default=LogFormat.AUTO),
            access_log=read.choice("IBKR_BRIDGE_ACCESS_LOG", AccessLog, default=AccessLog.ALL),
            allow_remote=read.flag("IBKR_BRIDGE_ALLOW_REMOTE", default=False),
            allowed_hosts=frozenset(read.hosts("IBKR_BRIDGE_ALLOWED_HOSTS")),
        )


def setting_fields() -> tuple[str, ...]:
    """The fields that come from a setting, in the order of `setting_names`."""
    return tuple(each.name for each in fields(Settings) if each.name not in ("profile", "user"))


@cache
def setting_names() -> tuple[str, ...]:
    """The names of all settings, in the order of the fields of `Settings`."""
    read = EnvReader({}, secrets=SECRET_NAMES, problems=[])
    Settings._read(read)
    return read.names_read


RELOADED_NAMES = (*SECRET_NAMES, *LOG_NAMES)
"""The settings that a reload applies; all others need a restart."""


def names_needing_restart(running: Settings, latest: Settings) -> tuple[str, ...]:
    """The settings that differ and that a reload does not apply."""
    return tuple(
        name
        for name, field_name in zip(setting_names(), setting_fields(), strict=True)
        if name not in RELOADED_NAMES and getattr(running, field_name) != getattr(latest, field_name)
    )


@dataclass
class UnappliedSettings:
    """What the last reload has read and has not applied."""

    names: tuple[str, ...] = ()
    wanted_mode: str = ""
    """The trading mode that it has read; empty without a reload."""
    refusal: str | None = None
    """Why it was refused; None if it was not."""


@dataclass(frozen=True)
class ClientSettings:
    """The settings that a client needs: the bridge's address, a key, and how long the bridge may take."""

    url: Address
    key: str = field(repr=False)
    """The full key; the read-only one if no full key is set."""
    max_wait_s: float
    gateway_timeout_s: float

    @classmethod
    def from_env(cls, env: Mapping[str, str], problems: list[Problem]) -> ClientSettings:
        """Read the settings of a client. Errors in the settings of the daemon are ignored.

        Raises:
            SettingsError: the address or the key cannot be used; the problems of the sources come first.
        """
        key_name = next((name for name in CLIENT_KEY_NAMES if env.get(name, "").strip()), CLIENT_KEY_NAMES[0])
        own = {each: env[each] for each in (key_name, "IBKR_BRIDGE_URL", "IBKR_BRIDGE_ALLOW_REMOTE") if each in env}
        read = EnvReader(own, secrets=SECRET_NAMES, problems=[])
        remote = read.flag("IBKR_BRIDGE_ALLOW_REMOTE", default=False)
        url = Address(*read.listen_address("IBKR_BRIDGE_URL", default="http://127.0.0.1:8000", remote=remote))
        key = read.key(key_name, is_required=True)
        if own_problems := read.problems():
            raise SettingsError([*problems, *own_problems])
        times = EnvReader(env, secrets=SECRET_NAMES, problems=[])  # with wrong times the daemon would not run
        return cls(
            url,
            key,
            max_wait_s=times.seconds("IBKR_BRIDGE_MAX_WAIT", default=5.0, low=0, high=60),
            gateway_timeout_s=times.seconds("IBKR_GATEWAY_TIMEOUT", default=15.0, low=1, high=120),
        )


CLIENT_KEY_NAMES = ("IBKR_BRIDGE_KEY", "IBKR_BRIDGE_READONLY_KEY")


def load_settings(env: Mapping[str, str], dotenv: Path | None) -> Settings:
    """Load the settings of the daemon: the environment takes precedence over `.env`, and that over secret files.

    Args:
        env: the environment of the process.
        dotenv: the `.env` file, which need not exist.

    Raises:
        SettingsError: all problems at once.
    """
    return Settings.from_env(*_merge_sources(env, dotenv))


def load_server_settings(env: Mapping[str, str], dotenv: Path | None) -> Settings:
    """Load the settings of a daemon in front of a real Gateway, as `load_settings` does; the demo's key is refused.

    Raises:
        SettingsError: all problems at once.
    """
    settings = load_settings(env, dotenv)
    keys = zip(SECRET_NAMES, (settings.key, settings.key_previous, settings.readonly_key), strict=True)
    if public := [name for name, key in keys if key == DEMO_KEY]:
        raise SettingsError([Problem(name, name_commands(PUBLIC_KEY), GENKEY_HINT) for name in public])
    return settings


def load_client_settings(env: Mapping[str, str], dotenv: Path | None) -> ClientSettings:
    """Load the settings of a program that calls the bridge, from the same sources.

    Raises:
        SettingsError: the address or the key is missing or wrong.
    """
    return ClientSettings.from_env(*_merge_sources(env, dotenv))


def merge_sources(env: Mapping[str, str], dotenv: Path | None) -> dict[str, str]:
    """All settings by name, as they were written; sources that cannot be read count as empty."""
    return _merge_sources(env, dotenv)[0]


def state_dir_of(env: Mapping[str, str], dotenv: Path | None) -> Path | None:
    """The state directory alone, whatever is wrong with the other settings."""
    return EnvReader(merge_sources(env, dotenv), secrets=SECRET_NAMES, problems=[]).state_dir("IBKR_BRIDGE_STATE_DIR")


def _merge_sources(env: Mapping[str, str], dotenv: Path | None) -> tuple[dict[str, str], list[Problem]]:
    copy = systemd_env_copy(env)
    problems = lines_systemd_reads_differently(copy) if copy else []
    merged = {**(read_dotenv(dotenv, problems) if dotenv else {}), **env}
    return {**read_secret_files(merged, SECRET_FILE_NAMES, problems), **merged}, problems
