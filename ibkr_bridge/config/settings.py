"""Every knob of the bridge, read once, at one door.

`load()` joins the environment, the `.env` file and the secrets systemd or Docker hand over as files;
`Settings.from_env` judges the result and complains about all that is wrong at once. Nothing else in the bridge reads
the environment. How a text becomes a value stands in `config/env_reader.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import Enum
from pathlib import Path

from ibkr_bridge.config.env_reader import TRUE, EnvReader
from ibkr_bridge.config.sources import (
    SECRET_NAMES,
    lines_systemd_reads_differently,
    read_dotenv,
    read_secret_files,
    systemd_env_copy,
)
from ibkr_bridge.config.value_types import Fingerprint, Problem, WeeklyWindow


class Mode(Enum):
    """Whose money may move."""

    PAPER = "paper"
    LIVE = "live"


class Compete(Enum):
    """What to do when the same user signs in elsewhere."""

    RECLAIM = "reclaim"
    YIELD = "yield"


class LogFormat(Enum):
    """How log lines are written; `auto` is console on a terminal, fields in systemd's journal, JSON elsewhere."""

    AUTO = "auto"
    CONSOLE = "console"
    JSON = "json"


class LogLevel(Enum):
    """The least important line that is still written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Region(Enum):
    """The part of the world whose midnight ends an IBKR session; the value is its time zone."""

    AMERICA = "america"
    EUROPE = "europe"
    ASIA = "asia"


class SettingsError(Exception):
    """The environment cannot be used; one problem for each thing to mend, in the order of `.env.example`."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


@dataclass(frozen=True)
class Address:
    """A host and a port."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


@dataclass(frozen=True)
class Settings:
    """What the bridge was told. Secrets stay out of `repr`."""

    url: Address
    """Where to listen; the app calls the same line."""
    key: str = field(repr=False)
    """The full key: reads and trades."""
    key_previous: str | None = field(repr=False)
    """The full key before the last rotation, still accepted."""
    readonly_key: str | None = field(repr=False)
    """A key that only reads."""
    gateway_url: Address
    """The Client Portal Gateway."""
    gateway_socket: Path | None
    """A Unix socket that leads there."""
    gateway_fingerprint: bytes | None
    """SHA-256 of the Gateway's certificate, 32 bytes."""
    gateway_ca_file: Path | None
    """Certificates that vouch for the Gateway's own."""
    trading_mode: Mode
    """Paper refuses every change to an account not known to be paper."""
    read_only: bool
    """Nothing is changed at IBKR, whatever the key."""
    allow_paid_snapshots: bool
    """Whether calls that cost money each time pass."""
    allowed_accounts: frozenset[str] = field(repr=False)
    """Accounts that may be traded; empty means all."""
    max_order_quantity: Decimal | None
    """Largest size of one order, in shares or contracts."""
    max_order_value: Decimal | None
    """Largest value of one order, in the account's base currency."""
    compete: Compete
    """Whether to take the session back from another login."""
    extra_prefixes: tuple[str, ...]
    """First path segments bridged besides iserver, portfolio and marketdata."""
    state_dir: Path | None
    """Where the journal of orders, cookies and the pause are kept; None where the machine offers no place."""
    max_wait_s: float
    """Longest wait for a turn at the Gateway, seconds."""
    gateway_timeout_s: float
    """Longest wait for the head of an answer, seconds."""
    gateway_watch_s: float
    """Between two looks at the session, seconds."""
    add_coid: bool
    """Whether orders without a cOID get one, by which they can be found again."""
    region: Region
    """Whose midnight ends the session."""
    maintenance: tuple[WeeklyWindow, ...]
    """IBKR's known windows, in local time of the region."""
    log_level: LogLevel
    """The least important line written."""
    log_format: LogFormat
    """How lines are written."""
    allow_remote: bool
    """Whether other machines may connect."""
    allowed_hosts: frozenset[str]
    """Further names callers may use in the Host header."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every key, for those who must keep them out of sight."""
        return tuple(key for key in (self.key, self.key_previous, self.readonly_key) if key)

    def with_gateway(self, gateway: str) -> Settings:
        """The same settings for another Gateway on this machine, such as a simulated one."""
        scheme, _, rest = gateway.partition("://")
        host, _, port = rest.rpartition(":")
        return replace(self, gateway_url=Address(scheme, host, int(port)), gateway_socket=None)

    @classmethod
    def from_env(cls, env: Mapping[str, str], problems: list[Problem] | None = None) -> Settings:
        """Read every knob, then complain about all that is wrong at once.

        Args:
            env: names and values, already joined.
            problems: what went wrong before, such as a file that could not be read.

        Raises:
            SettingsError: one problem for each thing to mend, in the order of the example file.
        """
        read = EnvReader(env, secrets=SECRET_NAMES, problems=problems or [])
        remote = read.peek("IBKR_BRIDGE_ALLOW_REMOTE") in TRUE
        pinned = bool(read.peek("IBKR_GATEWAY_FINGERPRINT") or read.peek("IBKR_GATEWAY_CA_FILE"))
        settings = cls(
            url=Address(*read.listen_address("IBKR_BRIDGE_URL", default="http://127.0.0.1:8000", remote=remote)),
            key=read.key("IBKR_BRIDGE_KEY", needed=True),
            key_previous=read.key("IBKR_BRIDGE_KEY_PREVIOUS") or None,
            readonly_key=read.key("IBKR_BRIDGE_READONLY_KEY") or None,
            gateway_url=Address(
                *read.gateway_address("IBKR_GATEWAY_URL", default="https://127.0.0.1:5000", pinned=pinned)
            ),
            gateway_socket=read.socket("IBKR_GATEWAY_SOCKET"),
            gateway_fingerprint=read.parse("IBKR_GATEWAY_FINGERPRINT", Fingerprint.parse, default=None),
            gateway_ca_file=read.file("IBKR_GATEWAY_CA_FILE"),
            trading_mode=read.choice("IBKR_TRADING_MODE", Mode, default=Mode.PAPER),  # the safe side
            read_only=read.flag("IBKR_READ_ONLY", default=False),
            allow_paid_snapshots=read.flag("IBKR_ALLOW_PAID_SNAPSHOTS", default=False),
            allowed_accounts=frozenset(read.accounts("IBKR_ALLOWED_ACCOUNTS")),
            max_order_quantity=read.amount("IBKR_MAX_ORDER_QUANTITY"),
            max_order_value=read.amount("IBKR_MAX_ORDER_VALUE"),
            compete=read.choice("IBKR_COMPETE", Compete, default=Compete.RECLAIM),
            extra_prefixes=read.prefixes("IBKR_BRIDGE_EXTRA_PREFIXES"),
            state_dir=read.state_dir("IBKR_BRIDGE_STATE_DIR"),
            max_wait_s=read.seconds("IBKR_BRIDGE_MAX_WAIT", default=5.0, low=0, high=60),
            gateway_timeout_s=read.seconds("IBKR_GATEWAY_TIMEOUT", default=15.0, low=1, high=120),
            gateway_watch_s=read.seconds("IBKR_GATEWAY_WATCH", default=3.0, low=1, high=5),
            add_coid=read.flag("IBKR_BRIDGE_ADD_COID", default=True),
            region=read.choice("IBKR_BRIDGE_REGION", Region, default=Region.AMERICA),
            maintenance=read.windows("IBKR_BRIDGE_MAINTENANCE"),
            log_level=read.choice("IBKR_BRIDGE_LOG_LEVEL", LogLevel, default=LogLevel.INFO),
            log_format=read.choice("IBKR_BRIDGE_LOG_FORMAT", LogFormat, default=LogFormat.AUTO),
            allow_remote=read.flag("IBKR_BRIDGE_ALLOW_REMOTE", default=False),
            allowed_hosts=frozenset(read.hosts("IBKR_BRIDGE_ALLOWED_HOSTS")),
        )
        found = read.problems()
        if found:
            raise SettingsError(found)
        return settings


@dataclass(frozen=True)
class ClientSettings:
    """What a caller needs of the same settings: where the bridge is, a key, and how long the bridge may take."""

    url: Address
    key: str = field(repr=False)
    """The full key; the read-only one where that is all there is."""
    max_wait_s: float
    gateway_timeout_s: float

    @classmethod
    def from_env(cls, env: Mapping[str, str], problems: list[Problem]) -> ClientSettings:
        """Read the few knobs a caller needs, and be content where the others are wrong: they are the daemon's.

        Raises:
            SettingsError: the address or the key cannot be used; what was wrong with the sources stands before it.
        """
        name = next((name for name in CLIENT_KEY_NAMES if env.get(name, "").strip()), CLIENT_KEY_NAMES[0])
        own = {each: env[each] for each in (name, "IBKR_BRIDGE_URL", "IBKR_BRIDGE_ALLOW_REMOTE") if each in env}
        read = EnvReader(own, secrets=SECRET_NAMES, problems=[])
        remote = read.flag("IBKR_BRIDGE_ALLOW_REMOTE", default=False)
        url = Address(*read.listen_address("IBKR_BRIDGE_URL", default="http://127.0.0.1:8000", remote=remote))
        key = read.key(name, needed=True)
        if found := read.problems():
            raise SettingsError([*problems, *found])
        times = EnvReader(env, secrets=SECRET_NAMES, problems=[])  # a daemon with wrong ones would not run
        return cls(
            url,
            key,
            max_wait_s=times.seconds("IBKR_BRIDGE_MAX_WAIT", default=5.0, low=0, high=60),
            gateway_timeout_s=times.seconds("IBKR_GATEWAY_TIMEOUT", default=15.0, low=1, high=120),
        )


CLIENT_KEY_NAMES = ("IBKR_BRIDGE_KEY", "IBKR_BRIDGE_READONLY_KEY")


def load_settings(env: Mapping[str, str], dotenv: Path | None) -> Settings:
    """The settings of this process: the environment over `.env` over secrets handed over as files.

    Args:
        env: the process's environment.
        dotenv: the `.env` file, which need not exist.

    Raises:
        SettingsError: everything that is wrong, at once.
    """
    joined, problems = _merge_sources(env, dotenv)
    return Settings.from_env(joined, problems)


def load_client_settings(env: Mapping[str, str], dotenv: Path | None) -> ClientSettings:
    """The settings of a program that calls the bridge, from the same sources.

    Raises:
        SettingsError: the address or the key is missing or wrong.
    """
    return ClientSettings.from_env(*_merge_sources(env, dotenv))


def _merge_sources(env: Mapping[str, str], dotenv: Path | None) -> tuple[dict[str, str], list[Problem]]:
    copy = systemd_env_copy(env)
    problems = lines_systemd_reads_differently(copy) if copy else []
    joined = {**(read_dotenv(dotenv, problems) if dotenv else {}), **env}
    return {**read_secret_files(joined, SECRET_NAMES, problems), **joined}, problems
