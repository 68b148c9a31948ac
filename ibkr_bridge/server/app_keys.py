"""What callers see. The keys under which handlers find what they share are declared here and nowhere else."""

from __future__ import annotations

from aiohttp import web

from ibkr_bridge.clock import Clock
from ibkr_bridge.config.settings import Settings
from ibkr_bridge.events import Bus
from ibkr_bridge.profiles.profile import Lines
from ibkr_bridge.redaction import Scrubber
from ibkr_bridge.server.drain import Drain
from ibkr_bridge.server.fast_path import Again
from ibkr_bridge.server.keyring import KeyRing
from ibkr_bridge.server.request_context import Visit
from ibkr_bridge.supervision import Pulse

SETTINGS = web.AppKey("settings", Settings)
LINES = web.AppKey("lines", Lines)
BUS = web.AppKey("bus", Bus)
CLOCK = web.AppKey("clock", Clock)
SCRUBBER = web.AppKey("scrubber", Scrubber)
KEYS = web.AppKey("keys", KeyRing)
PULSE = web.AppKey("pulse", Pulse)
AGAIN = web.AppKey("again", Again)
DRAIN = web.AppKey("drain", Drain)
VISIT = web.RequestKey("visit", Visit)
MAIN = "main"  # the name of the usual line
