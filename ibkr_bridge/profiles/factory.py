"""Builds one profile: every part once, in one readable order."""

from __future__ import annotations

from pathlib import Path

from ibkr_bridge import events
from ibkr_bridge.cache.cached_reads import CachedReads
from ibkr_bridge.clock import Clock
from ibkr_bridge.config.settings import Settings
from ibkr_bridge.limits.admission import AdmissionController
from ibkr_bridge.limits.penalty_box import PenaltyBox
from ibkr_bridge.limits.persistent_windows import PersistentWindows
from ibkr_bridge.orders.journal.repository import OrderRepository
from ibkr_bridge.orders.journal.store import JournalStore
from ibkr_bridge.orders.journal.writer import JournalWriter
from ibkr_bridge.orders.rules.trading_pause import TradingPause
from ibkr_bridge.orders.service import OrderService
from ibkr_bridge.orders.suppressed_questions import SuppressedQuestions
from ibkr_bridge.profiles.keeper_upstream import KeeperUpstream
from ibkr_bridge.profiles.options import ProfileOptions
from ibkr_bridge.profiles.profile import Profile
from ibkr_bridge.quirks.completion import CompleteReads
from ibkr_bridge.redaction import Redactor
from ibkr_bridge.session.gate import Explaining
from ibkr_bridge.session.keeper import Keeper
from ibkr_bridge.session.session_status import Policy, TrafficView
from ibkr_bridge.streaming.service import StreamService
from ibkr_bridge.upstream.gateway.client import GatewayClient
from ibkr_bridge.upstream.gateway.cookies import CookieStore
from ibkr_bridge.upstream.gateway.tls import tls_policy
from ibkr_bridge.upstream.gateway.websocket import WebSocketFactory


def build_profile(
    name: str, settings: Settings, clock: Clock, bus: events.Bus, redactor: Redactor, options: ProfileOptions
) -> Profile:
    """One Gateway and all that serves it.

    Raises:
        OSError: the CA file cannot be read as certificates.
    """

    def file(kind: str, form: str = "json") -> Path | None:
        return settings.state_dir / f"{name}.{kind}.{form}" if settings.state_dir else None

    cookies = CookieStore(file("cookies"), bus, redactor, clock)
    tls = tls_policy(settings.gateway_fingerprint, settings.gateway_ca_file)
    client = GatewayClient(
        str(settings.gateway_url), cookies, settings.gateway_timeout_s, tls, unix_socket=settings.gateway_socket
    )
    policy = Policy(settings.gateway_watch_s, settings.compete, settings.region, settings.maintenance)
    penalty_box = PenaltyBox(file("penalty"), bus, clock.utc)
    persistent_windows = PersistentWindows(file("paces"), bus, clock.utc)
    limits = options.limits
    traffic = TrafficView(
        lambda: client.abandoned >= limits.slots, lambda: penalty_box.box_left_s > 0, penalty_box.enter
    )
    admission, reads, completion = (
        AdmissionController(limits, clock),
        CachedReads(clock) if options.shares else None,
        CompleteReads(clock),
    )
    keeper_upstream = KeeperUpstream(
        client, admission, penalty_box, reads, completion.observer, persistent_windows.record
    )
    suppressed_questions = SuppressedQuestions(file("suppressed"), bus)
    said_again = (lambda: None) if settings.read_only else suppressed_questions.resend_call
    keeper = Keeper(name, keeper_upstream, policy, clock, bus, redactor, traffic, said_again)
    trading_pause = TradingPause(file("paused"), bus)
    explaining = Explaining(keeper, penalty_box)
    repository = OrderRepository(JournalWriter(JournalStore(file("orders", "db"), bus, clock.utc), bus), bus, clock.utc)
    orders = OrderService(repository, clock, options.reconcile_schedule, add_names=settings.add_coid)
    sockets = WebSocketFactory(str(settings.gateway_url), cookies, tls, settings.gateway_socket, keeper.session_id)
    profile = Profile(
        *(
            name,
            settings,
            client,
            cookies,
            keeper,
            admission,
            penalty_box,
            persistent_windows,
            trading_pause,
            explaining,
            completion,
            orders,
        ),
        *(suppressed_questions, StreamService(name, sockets, keeper, clock, bus), reads),
    )
    orders.connect(profile)
    bus.subscribe(profile.on_event)
    return profile
