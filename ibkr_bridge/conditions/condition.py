"""What a condition is, and the kinds that exist.

A kind is one row of `KINDS`: the documentation lists the rows, and every surface shows their texts and nothing else.
The id of a condition of the session is the reason of its state, so that one word stands for one thing everywhere.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from functools import cache
from urllib.parse import urlsplit

from ibkr_bridge.config.value_types import is_loopback


class Severity(Enum):
    """How much a condition matters; the most important first."""

    CRITICAL = "critical"  # calls or orders fail now
    WARNING = "warning"  # something is wrong, and it can get worse
    NOTICE = "notice"  # worth knowing; it ends by itself, or somebody wanted it

    @property
    def rank(self) -> int:
        """0 for the most important."""
        return list(Severity).index(self)


@dataclass(frozen=True)
class Kind:
    """One kind of condition. The texts are templates, filled with what was found."""

    id: str
    severity: Severity
    text: str
    do: str
    stops: bool = False
    """Whether brokerage calls or orders fail while it lasts: the bridge is then not ready."""
    needs_sign_in: bool = False
    """Whether a person has to sign in at the Gateway."""
    alone: tuple[str, str] | None = None
    """The text and what to do where the bridge signs in itself, without a Gateway; None if both are the same there."""


C, W, N = Severity.CRITICAL, Severity.WARNING, Severity.NOTICE
WAIT = "nothing; it ends by itself"
KINDS: Mapping[str, Kind] = {
    kind.id: kind
    for kind in (
        # The bridge itself.
        Kind("shutting_down", N, "the bridge is finishing its work before it ends", WAIT, stops=True),
        Kind(
            "state_unavailable",
            C,
            "the state directory cannot be used: {reason}",
            "make it a directory that the user of the bridge owns and can write, and restart the bridge",
        ),
        Kind(
            "disk_low",
            W,
            "the disk of the state directory has {free_mib} MiB left; without space every order is refused",
            "make space on the disk of the state directory",
        ),
        Kind(
            "history_unavailable",
            W,
            "the history of conditions cannot be written: {problem}",
            "make bridge.history.db in the state directory a file that the bridge can write, or make space on the disk",
        ),
        Kind(
            "reload_refused",
            W,
            "the last reload was refused, and the former settings stay: {problems}",
            "correct the settings, then reload again",
        ),
        Kind(
            "restart_needed",
            W,
            "the settings {names} have changed, and only a restart applies them",
            "restart the bridge when no order is on its way",
        ),
        Kind(
            "mode_differs",
            W,
            "the settings say {wanted} now, and the bridge runs in {mode} mode",
            "restart the bridge to trade in {wanted} mode, or set IBKR_TRADING_MODE={mode} again",
        ),
        # The session, by the reason of its state.
        Kind("starting", N, "the session has not been checked yet", WAIT, stops=True),
        Kind(
            "gateway_unreachable",
            C,
            "nothing answers at the address of the Gateway",
            "start the Gateway or IBeam, or correct IBKR_GATEWAY_URL",
            stops=True,
            alone=("there is no connection to IBKR's Web API", "{hint}"),
        ),
        Kind(
            "gateway_forbidden",
            C,
            "the Gateway answers Access Denied",
            "add the bridge's address to ips.allow in the Gateway's conf.yaml and restart it",
            stops=True,
            alone=("IBKR's Web API refuses the address of this machine", "{hint}"),
        ),
        Kind(
            "gateway_timeout",
            C,
            "the Gateway accepts calls, and IBKR does not answer them",
            "wait, and look at IBKR's system status page; a restart of the Gateway costs the login and does not help",
            stops=True,
            alone=("IBKR's Web API does not answer", "{hint}"),
        ),
        Kind(
            "gateway_stuck",
            C,
            "{ghost_calls} calls that IBKR never answered hold all slots of the Gateway",
            "if IBKR's system status page shows no outage, restart the Gateway and sign in",
            stops=True,
        ),
        Kind(
            "ibkr_unavailable",
            C,
            "IBKR answers with errors",
            "wait; if it lasts, look at IBKR's system status page",
            stops=True,
        ),
        Kind(
            "login_unclear",
            C,
            "IBKR does not show whether the login is alive",
            "wait; if it lasts, sign in again at the Gateway",
            stops=True,
            alone=("IBKR does not show whether the session is alive", "{hint}"),
        ),
        Kind("rate_limited", W, "IBKR limits the calls of this user", "wait", stops=True),
        Kind(
            "signed_out",
            C,
            "nobody is signed in at the Gateway",
            "sign in at the Gateway: open its address in a browser, or start IBeam; approve the login on the phone",
            stops=True,
            needs_sign_in=True,
            alone=("there is no session at IBKR", "{hint}"),
        ),
        # The credential of a profile without a Gateway.
        Kind(
            "activating",
            W,
            "IBKR does not know the consumer key yet; the bridge asks once an hour",
            "{hint}",
            stops=True,
        ),
        Kind(
            "credential_refused",
            C,
            "IBKR refuses the signature of the handshake: a key, the token secret or the consumer key is wrong",
            "{hint}",
            stops=True,
        ),
        Kind("secret_lost", C, "IBKR has no secret for the access token", "{hint}", stops=True),
        Kind("revoked", C, "IBKR no longer knows the access token, which has worked before", "{hint}", stops=True),
        Kind(
            "mismatch",
            C,
            "IBKR derived another live session token; the bridge does not use it",
            "{hint}",
            stops=True,
        ),
        Kind("vault_locked", C, "the key that opens the credential of this profile is missing", "{hint}", stops=True),
        Kind("credential_missing", W, "no complete credential was imported for this profile", "{hint}", stops=True),
        Kind("credential_unreadable", C, "the credential of this profile cannot be opened", "{hint}", stops=True),
        Kind(
            "brokerage_lost",
            W,
            "the brokerage session was lost, and the bridge is reopening it",
            "{hint}",
            stops=True,
        ),
        Kind(
            "brokerage_disconnected",
            W,
            "IBKR disconnected the brokerage session, and the bridge is reopening it; the login is alive",
            "{hint}",
            stops=True,
        ),
        Kind("establishing", N, "IBKR is loading the accounts", "wait a few seconds", stops=True),
        Kind(
            "brokerage_unusable",
            C,
            "IBKR reports a session and refuses brokerage calls; the bridge requests the session again",
            "wait; if it lasts, sign in again at the Gateway",
            stops=True,
            alone=("IBKR reports a session and refuses brokerage calls; the bridge requests it again", "{hint}"),
        ),
        Kind("competing", C, "another session of the same user holds the brokerage session", "{hint}", stops=True),
        Kind(
            "session_flapping",
            W,
            "the session was lost {losses} times in the last hour",
            "look for another login of the same user, a second bridge or IBeam, or a bad connection to IBKR",
        ),
        Kind("maintenance", N, "IBKR is in a known maintenance window until {until} UTC", WAIT),
        Kind(
            "login_ends",
            N,
            "IBKR ends the login at {at} UTC",
            "have the phone with IBKR Mobile at hand then: to approve the new login takes about three minutes",
        ),
        # Calls and orders.
        Kind(
            "penalty_box",
            C,
            "IBKR refuses every call for another {seconds} s",
            "wait, and stop other programs at this address that call IBKR; every further call makes it longer",
            stops=True,
        ),
        Kind("endpoint_closed", W, "IBKR refuses calls of {paths} for now", "send these calls less often"),
        Kind(
            "trading_paused",
            W,
            "{by} paused trading{since}; new orders are refused",
            "the command resume, or POST /gateway/resume, allows new orders again",
            stops=True,
        ),
        Kind(
            "journal_unavailable",
            C,
            "the journal of orders cannot be written, and every order is refused: {problem}",
            "make the state directory writable for the user of the bridge, or make space on its disk",
            stops=True,
        ),
        Kind(
            "orders_unknown",
            C,
            "{count} sent without an answer; the bridge searches for {them} at IBKR",
            "send nothing again; the command orders --unknown shows what is open",
        ),
        Kind(
            "order_question",
            N,
            "IBKR has asked about an order and waits for the answer of the app",
            "answer it within a minute: GET /orders shows the question",
        ),
        # Streams.
        Kind(
            "stream_down",
            W,
            "the stream from IBKR has been down since {at} UTC: {reason}",
            "nothing; the bridge opens it again. If it lasts, look for another program that holds five sockets",
        ),
        Kind(
            "topics_silent",
            W,
            "IBKR does not answer {count} of the requested stream topics",
            "check the market data subscriptions of the user",
        ),
        Kind(
            "clock_skewed",
            W,
            "the clock of this machine is {seconds} s {side} IBKR's",
            "set the clock: timedatectl set-ntp true; tokens, times in the log and the hour of the reset depend on it",
        ),
    )
}


@dataclass(frozen=True)
class Condition:
    """Something that a person may have to know now."""

    id: str = field(metadata={"doc": "What it is, as a code."})
    profile: str | None = field(metadata={"doc": "The profile that it concerns; null if it is the whole bridge."})
    severity: str = field(metadata={"doc": "`critical`, `warning` or `notice`."})
    since: datetime = field(metadata={"doc": "When it began."})
    text: str = field(metadata={"doc": "What is the case, for a person."})
    do: str = field(metadata={"doc": "What that person should do."})
    url: str | None = field(metadata={"doc": "Where to do it; null if there is no such place."})
    tunnel: str | None = field(
        default=None,
        metadata={"doc": "A command that opens a way to `url` for another computer; null if none is needed."},
    )

    @property
    def stops(self) -> bool:
        """Whether brokerage calls or orders fail while it lasts."""
        return KINDS[self.id].stops

    @property
    def line(self) -> str:
        """The condition in one line."""
        return f"{self.id}: {self.text}; {self.do}"


@dataclass(frozen=True)
class Found:
    """A condition that was found, before its texts are written."""

    id: str
    since: datetime | None = None
    """None if only the moment at which it is first seen is known."""
    values: Mapping[str, object] = field(default_factory=dict)
    """For the templates of its kind."""
    is_alone: bool = False
    """Whether the bridge signs in itself there, without a Gateway."""


def write_condition(found: Found, profile: str | None, first_seen: datetime, sign_in_url: str | None) -> Condition:
    """The condition with its texts.

    Args:
        profile: the profile that it concerns.
        first_seen: when it was first found.
        sign_in_url: where a person signs in.
    """
    kind = KINDS[found.id]
    templates = kind.alone if found.is_alone and kind.alone is not None else (kind.text, kind.do)
    text, do = (template.format_map(found.values) for template in templates)
    url = sign_in_url if kind.needs_sign_in and not found.is_alone else None
    tunnel = tunnel_to(url, socket.gethostname()) if url is not None else None
    return Condition(kind.id, profile, kind.severity.value, found.since or first_seen, text, do, url, tunnel)


@cache
def tunnel_to(url: str, host: str) -> str | None:
    """The command with which another computer reaches an address of this one; None for any other address.

    Args:
        host: the name of this computer.
    """
    parts = urlsplit(url)
    if parts.hostname is None or not is_loopback(parts.hostname):
        return None
    port = parts.port or 443
    return f"ssh -N -L {port}:127.0.0.1:{port} {host}"
