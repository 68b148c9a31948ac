"""The table of all checks. Each takes all facts, and yields what it has found about one thing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ibkr_bridge.cli.doctor.app_checks import app_file, app_key, app_url, public_keys
from ibkr_bridge.cli.doctor.bridge_checks import accounts, bridge, clock, conditions, market_data, mode, session, stream
from ibkr_bridge.cli.doctor.collect import Facts
from ibkr_bridge.cli.doctor.finding import Finding, in_order
from ibkr_bridge.cli.doctor.gateway_checks import access, addresses, certificate, cors, gateway, ibeam
from ibkr_bridge.cli.doctor.local_checks import (
    disk,
    guards,
    journal,
    keys,
    misread_lines,
    near_misses,
    port,
    program,
    sandbox,
    settings_source,
    state_directory,
    unit,
)

CHECKS: tuple[Callable[[Facts], Iterator[Finding]], ...] = (
    *(settings_source, misread_lines, near_misses, keys, guards),  # settings
    *(program,),
    *(state_directory, disk, journal),
    *(port, unit, sandbox),  # service; a port that is taken is why the unit does not run
    *(gateway, certificate, access, ibeam),
    *(bridge, mode, clock, session, accounts, market_data, stream),
    *(conditions,),  # each in its own layer, below the checks of that layer
    *(addresses, cors),  # exposure
    *(app_file, public_keys, app_url, app_key),
)


def find_all(facts: Facts) -> list[Finding]:
    """All findings, in the order of the layers."""
    return in_order(finding for check in CHECKS for finding in check(facts))
