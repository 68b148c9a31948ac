"""Collects all facts, at the same time and in bounded time."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ibkr_bridge.cli.doctor.app_file import AppFacts, read_app
from ibkr_bridge.cli.doctor.bounded import Child, UserIds, run_together
from ibkr_bridge.cli.doctor.bridge_probe import BridgeAnswer, probe_bridge
from ibkr_bridge.cli.doctor.gateway_probe import GatewayAnswer, probe_gateway, reachable_addresses
from ibkr_bridge.cli.doctor.host_addresses import read_other_addresses
from ibkr_bridge.cli.doctor.ibeam_probe import IBeamAnswer, probe_ibeam
from ibkr_bridge.cli.doctor.local_facts import (
    ProgramFacts,
    SourceFacts,
    read_program,
    read_sources,
    service_user,
    user_ids,
)
from ibkr_bridge.cli.doctor.state_facts import StateFacts, look_at_state
from ibkr_bridge.cli.doctor.unit_probe import INSTALLED_STATE, UnitState, probe_unit
from ibkr_bridge.config.settings import Settings
from ibkr_bridge.config.value_types import is_loopback

PROBES_TIMEOUT_S = 15.0  # for all of them; the bridge may take 5 s for its status and 8 s for a quote
CHILD_TIMEOUT_S = 5.0  # for a disk, and for eight addresses
STRANGER = "nobody"  # a user with no rights: what it can reach, everybody can


@dataclass(frozen=True)
class Facts:
    """Everything that doctor knows. None means that a probe did not end in time, or was not made."""

    settings: Settings
    sources: SourceFacts
    program: ProgramFacts
    state: StateFacts | None = None
    unit: UnitState | None = None
    gateway: GatewayAnswer | None = None
    bridge: BridgeAnswer | None = None
    ibeam: IBeamAnswer | None = None
    exposed_addresses: tuple[str, ...] = ()
    """Addresses of this host, other than loopback, at which the Gateway's port accepts connections."""
    app: AppFacts | None = None


def collect(settings: Settings, app_file: Path | None = None) -> Facts:
    """Collect the facts.

    Args:
        settings: those of the bridge.
        app_file: the variables of an app; None if none are to be checked.
    """
    with ExitStack() as children:
        state = children.enter_context(Child(lambda: look_at_state(settings.state_dir), service_user(settings)))
        exposed = children.enter_context(Child(lambda: _find_exposed(settings), _stranger()))
        results = run_together(_probes(settings, app_file), PROBES_TIMEOUT_S)
        state_members, addresses = state.result(CHILD_TIMEOUT_S), exposed.result(CHILD_TIMEOUT_S)
    return Facts(
        settings=settings,
        sources=read_sources(settings),
        program=read_program(),
        state=StateFacts(**state_members) if state_members is not None else None,
        unit=results.get("unit"),
        gateway=results.get("gateway"),
        bridge=results.get("bridge", (None, None))[0],
        ibeam=results.get("bridge", (None, None))[1],
        exposed_addresses=tuple(addresses or ()),
        app=results.get("app"),
    )


def _probes(settings: Settings, app_file: Path | None) -> Mapping[str, Callable[[], Any]]:
    probes: dict[str, Callable[[], Any]] = {
        "gateway": lambda: probe_gateway(settings),
        "bridge": lambda: _probe_bridge_and_ibeam(settings),
    }
    if settings.state_dir == INSTALLED_STATE:  # else another bridge than the installed one is meant
        probes["unit"] = probe_unit
    if app_file is not None:
        probes["app"] = lambda: read_app(app_file, settings)
    return probes


def _probe_bridge_and_ibeam(settings: Settings) -> tuple[BridgeAnswer, IBeamAnswer]:
    """One after the other: IBeam makes a call to IBKR, which is harmless only if the bridge says so."""
    answer = probe_bridge(settings)
    may_call = answer.status is not None and answer.status["state"] not in ("silent", "unreachable", "starting")
    return answer, probe_ibeam(may_call=may_call)


def _find_exposed(settings: Settings) -> list[str]:
    """Of a Gateway on loopback, since one elsewhere is meant to be reached."""
    address = settings.gateway_url
    if settings.gateway_socket is not None or not is_loopback(address.host):
        return []
    return reachable_addresses(read_other_addresses(), address.port)


def _stranger() -> UserIds | None:
    """Root may pass a firewall that keeps all others out, so root connects as somebody else."""
    return user_ids(STRANGER) if os.geteuid() == 0 else None
