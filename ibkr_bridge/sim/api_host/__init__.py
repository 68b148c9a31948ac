"""The simulated api.ibkr.com: IBKR's public Web API, which programs reach by OAuth and without a Gateway."""

from __future__ import annotations

from ibkr_bridge.sim.api_host.host import ApiHost
from ibkr_bridge.sim.api_host.keys import UserKeys, make_keys, usual_keys
from ibkr_bridge.sim.api_host.registration import Registration

__all__ = ["ApiHost", "Registration", "UserKeys", "make_keys", "usual_keys"]
