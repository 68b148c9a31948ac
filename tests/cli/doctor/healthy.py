"""The facts of a bridge with which all is well; a test replaces what is wrong."""

from __future__ import annotations

from typing import Any

from ibkr_bridge.cli.doctor.bridge_probe import BridgeAnswer
from ibkr_bridge.cli.doctor.checks import find_all
from ibkr_bridge.cli.doctor.collect import Facts
from ibkr_bridge.cli.doctor.finding import Finding
from ibkr_bridge.cli.doctor.gateway_probe import SHIPPED_FINGERPRINT, GatewayAnswer
from ibkr_bridge.cli.doctor.ibeam_probe import IBeamAnswer
from ibkr_bridge.cli.doctor.local_facts import ProgramFacts, SourceFacts
from ibkr_bridge.cli.doctor.state_facts import StateFacts
from ibkr_bridge.cli.doctor.unit_probe import SANDBOX, UnitState
from ibkr_bridge.config.settings import Settings

KEY = "a-key-for-the-command-line-tests-0123456789"
GIBIBYTE = 1024**3
RUNNING = {"LoadState": "loaded", "ActiveState": "active", "SubState": "running", "NRestarts": "0", **SANDBOX}


def settings(**env: str) -> Settings:
    """Settings with a key."""
    return Settings.from_env({"IBKR_BRIDGE_KEY": KEY, "IBKR_BRIDGE_STATE_DIR": "/var/lib/ibkr-bridge", **env})


def status(**members: Any) -> dict[str, Any]:
    """The body of `/gateway/status` as far as doctor reads it."""
    return {
        "state": "ready",
        "conditions": [],
        "mode": "paper",
        "accounts": [{"account": "DU*****67", "kind": "paper"}],
        "slots": {"total": 4, "taken": 0, "waiting": 0, "ghost_calls": 0},
        "penalty": {"box_s": 0, "endpoints": {}},
        "stream": {"up": True, "reason": "ready", "topics": 3, "silent_topics": 0, "readers": 1, "clock_skew_s": 0.1},
        **members,
    }


def condition(name: str, severity: str = "critical") -> dict[str, str]:
    """A condition as the status has it."""
    return {"id": name, "severity": severity, "text": f"the text of {name}", "do": f"what to do about {name}"}


def healthy(**facts: Any) -> Facts:
    """The facts; the arguments replace some of them."""
    members: dict[str, Any] = {
        "settings": settings(),
        "sources": SourceFacts("/opt/ibkr-bridge/.env", exists=True),
        "program": ProgramFacts("3.11.7", "/usr/bin/python3", has_c_parser=True),
        "state": StateFacts("/var/lib/ibkr-bridge", True, free_bytes=GIBIBYTE, has_journal=True, journal_entries=2),
        "unit": UnitState(RUNNING),
        "gateway": GatewayAnswer(tls="TLSv1.2", fingerprint=SHIPPED_FINGERPRINT, status=302),
        "bridge": BridgeAnswer(status(), quote={"kind": "live"}),
        "ibeam": IBeamAnswer(200, 200),
    }
    return Facts(**{**members, **facts})


def broken(facts: Facts) -> list[Finding]:
    """What somebody has to do something about."""
    return [finding for finding in find_all(facts) if finding.is_broken]


def only_broken(facts: Facts) -> tuple[str, str, str]:
    """Layer, name and text of the one check that is not well."""
    (finding,) = broken(facts)
    return finding.layer.value, finding.check, finding.found
