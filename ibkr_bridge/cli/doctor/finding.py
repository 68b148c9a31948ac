"""What a check has found, and the layers in the order in which one needs the other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Layer(Enum):
    """A layer between the machine and the app; what stands above must work first."""

    SETTINGS = "settings"
    PROGRAM = "program"
    STATE = "state"
    SERVICE = "service"
    GATEWAY = "gateway"
    BRIDGE = "bridge"
    CLOCK = "clock"
    IBKR = "ibkr"
    LOGIN = "login"
    BROKERAGE = "brokerage"
    ACCOUNTS = "accounts"
    ORDERS = "orders"
    MARKET_DATA = "data"
    STREAM = "stream"
    EXPOSURE = "exposure"  # stops no call, so it never hides a layer that does
    APP = "app"


LAYERS = tuple(Layer)


@dataclass(frozen=True)
class Finding:
    """The result of one check. `fix` says what to do; it is empty if nothing is wrong."""

    layer: Layer
    check: str
    found: str
    expected: str = ""
    fix: str = ""

    @property
    def is_broken(self) -> bool:
        """Whether somebody has to do something."""
        return bool(self.fix)

    def as_json(self) -> dict[str, str]:
        """The finding as `doctor --json` prints it."""
        return {
            "layer": self.layer.value,
            "check": self.check,
            "found": self.found,
            "expected": self.expected,
            "fix": self.fix,
        }


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """The findings by layer; within a layer the order stays."""
    return sorted(findings, key=lambda finding: LAYERS.index(finding.layer))


def first_broken(findings: Iterable[Finding]) -> Finding | None:
    """The first finding that somebody has to do something about, None if there is none."""
    return next((finding for finding in in_order(findings) if finding.is_broken), None)
