"""Builds one profile: every part once, in one readable order."""

from __future__ import annotations

from pathlib import Path

from ibkr_bridge import events
from ibkr_bridge.cache.cached_reads import Reads
from ibkr_bridge.clock import Clock
from ibkr_bridge.config.settings import Settings
from ibkr_bridge.limits.admission import Turns
from ibkr_bridge.limits.penalty_box import Penalty
from ibkr_bridge.limits.persistent_windows import LongPaces
from ibkr_bridge.orders.journal.repository import Book
from ibkr_bridge.orders.journal.store import Journal
from ibkr_bridge.orders.journal.writer import JournalWriter
from ibkr_bridge.orders.rules.trading_pause import Pause
from ibkr_bridge.orders.service import Ordering
from ibkr_bridge.orders.suppressed_questions import Suppressed
from ibkr_bridge.profiles.keeper_upstream import Beside
from ibkr_bridge.profiles.options import Manners
from ibkr_bridge.profiles.profile import Line
from ibkr_bridge.quirks.completion import Courtesy
from ibkr_bridge.redaction import Scrubber
from ibkr_bridge.session.gate import Explaining
from ibkr_bridge.session.keeper import Keeper
from ibkr_bridge.session.session_status import Policy, Road
from ibkr_bridge.streaming.service import Streaming
from ibkr_bridge.upstream.gateway.client import Gateway
from ibkr_bridge.upstream.gateway.cookies import Jar
from ibkr_bridge.upstream.gateway.tls import judge
from ibkr_bridge.upstream.gateway.websocket import Sockets


def build_line(
    name: str, settings: Settings, clock: Clock, bus: events.Bus, scrubber: Scrubber, manners: Manners
) -> Line:
    """One Gateway and all that serves it.

    Raises:
        OSError: the CA file cannot be read as certificates.
    """

    def file(kind: str, form: str = "json") -> Path | None:
        return settings.state_dir / f"{name}.{kind}.{form}" if settings.state_dir else None

    jar = Jar(file("cookies"), bus, scrubber, clock)
    tls = judge(settings.gateway_fingerprint, settings.gateway_ca_file)
    client = Gateway(str(settings.gateway_url), jar, settings.gateway_timeout, tls, path=settings.gateway_socket)
    policy = Policy(settings.gateway_watch, settings.compete, settings.region, settings.maintenance)
    penalty = Penalty(file("penalty"), bus, clock.utc)
    long = LongPaces(file("paces"), bus, clock.utc)
    limits = manners.limits
    road = Road(lambda: client.ghosts >= limits.places, lambda: penalty.box_left > 0, penalty.declare)
    turns, reads, courtesy = Turns(limits, clock), Reads(clock) if manners.shares else None, Courtesy(clock)
    beside = Beside(client, turns, penalty, reads, courtesy.noticing, long.spent)
    suppressed = Suppressed(file("suppressed"), bus)
    said_again = (lambda: None) if settings.read_only else suppressed.call
    keeper = Keeper(name, beside, policy, clock, bus, scrubber, road, said_again)
    pause = Pause(file("paused"), bus)
    explaining = Explaining(keeper, penalty)
    book = Book(JournalWriter(Journal(file("orders", "db"), bus, clock.utc), bus), bus, clock.utc)
    ordering = Ordering(book, clock, manners.search, add_names=settings.add_coid)
    sockets = Sockets(str(settings.gateway_url), jar, tls, settings.gateway_socket, keeper.session_id)
    line = Line(
        *(name, settings, client, jar, keeper, turns, penalty, long, pause, explaining, courtesy, ordering),
        *(suppressed, Streaming(name, sockets, keeper, clock, bus), reads),
    )
    ordering.travel_by(line)
    bus.listen(line.hear)
    return line
