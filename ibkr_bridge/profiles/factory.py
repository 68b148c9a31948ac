"""Builds one profile: every part once, and the stages of a call in their order."""

from __future__ import annotations

from pathlib import Path

from ibkr_bridge import events
from ibkr_bridge.cache.cached_reads import CachedReads
from ibkr_bridge.calls.stage import Stage
from ibkr_bridge.calls.upstream_port import Upstream, UpstreamTraits
from ibkr_bridge.clock import Clock, utc_text
from ibkr_bridge.config.settings import Mode, Settings
from ibkr_bridge.limits.address_ceiling import AddressCeiling
from ibkr_bridge.limits.address_gate import AddressGate
from ibkr_bridge.limits.admission import AdmissionController
from ibkr_bridge.limits.admission_gate import AdmissionGate
from ibkr_bridge.limits.admission_queue import Limits
from ibkr_bridge.limits.penalty_box import PenaltyBox
from ibkr_bridge.limits.penalty_gate import PenaltyGate
from ibkr_bridge.limits.persistent_windows import PersistentWindows
from ibkr_bridge.orders.journal.repository import OrderRepository
from ibkr_bridge.orders.journal.store import JournalStore
from ibkr_bridge.orders.journal.threads import JournalThreads
from ibkr_bridge.orders.journal.writer import JournalWriter
from ibkr_bridge.orders.rules.guard import OrderGuard
from ibkr_bridge.orders.rules.rules import RuleContext
from ibkr_bridge.orders.rules.trading_pause import TradingPause
from ibkr_bridge.orders.service import OrderDependencies, OrderService
from ibkr_bridge.orders.suppressed_questions import SuppressedQuestions
from ibkr_bridge.profiles.credentials import LoadCredential, no_credential
from ibkr_bridge.profiles.dispatch import Dispatch
from ibkr_bridge.profiles.keeper_upstream import KeeperUpstream
from ibkr_bridge.profiles.options import ProfileOptions
from ibkr_bridge.profiles.pipeline import Pipeline
from ibkr_bridge.profiles.profile import Profile
from ibkr_bridge.profiles.roads import road_of
from ibkr_bridge.profiles.topic_reads import topic_reads
from ibkr_bridge.quirks.completion import CompleteReads
from ibkr_bridge.quirks.composition import ComposeReads
from ibkr_bridge.redaction import Redactor
from ibkr_bridge.session.gate import SessionGate
from ibkr_bridge.session.keeper import Keeper
from ibkr_bridge.session.losses import SessionLosses
from ibkr_bridge.session.preflight import ALL_ACCOUNTS
from ibkr_bridge.session.selected_account import SelectedAccount
from ibkr_bridge.session.session_status import Policy, TrafficView
from ibkr_bridge.session.state_machine import Observation, SessionState
from ibkr_bridge.streaming.market_data_gate import MarketDataGate
from ibkr_bridge.streaming.service import StreamService, StreamSession
from ibkr_bridge.streaming.stale_reasons import NO_STREAM
from ibkr_bridge.streaming.streamed_orders import StreamedOrders

STATES_WITHOUT_SESSION = (
    *(SessionState.OPENING, SessionState.COMPETING, SessionState.SIGNED_OUT),
    *(SessionState.ACTIVATING, SessionState.CREDENTIAL_REFUSED),
)
"""States in which IBKR has no session of this profile, and so no market data lines. In the others it may have one."""


def gateway_stages(
    upstream: Upstream,
    guard: OrderGuard,
    session_gate: SessionGate,
    streaming: StreamService,
    streamed_orders: StreamedOrders,
    cached_reads: CachedReads,
    completion: CompleteReads,
    penalty_box: PenaltyBox,
    admission: AdmissionController,
    persistent_windows: PersistentWindows,
    address_gate: AddressGate,
) -> tuple[Stage, ...]:
    """What happens to every call, outermost first; on the way back in reverse. `Dispatch` follows and sends."""
    return (
        ComposeReads(upstream.traits),  # first, since each part then passes the other stages on its own
        guard,  # before anything is waited for: a refusal must be immediate
        session_gate,  # no cached response is given out while the session is down
        MarketDataGate(streaming.hub.upstream_subscriptions),
        streamed_orders,  # outside of the limits, whose refusal it replaces
        cached_reads,  # after it, a read is one call for all callers that want it
        completion,  # several sendings of one read count as one for the cache
        PenaltyGate(penalty_box),
        AdmissionGate(admission, persistent_windows),  # nearly last: a call that holds a permit must be sent soon
        address_gate,  # last: it waits only while the profiles together want more than their address may send
    )


def build_profile(
    name: str,
    settings: Settings,
    clock: Clock,
    bus: events.Bus,
    redactor: Redactor,
    options: ProfileOptions,
    load_credential: LoadCredential = no_credential,
    ceiling: AddressCeiling | None = None,
    journal_threads: JournalThreads | None = None,
) -> Profile:
    """Build a profile.

    Args:
        load_credential: returns what signs in its username, on a road without a Gateway.
        ceiling: of the address from which it reaches IBKR; one of its own if it is left out.
        journal_threads: of all profiles; threads of its own if they are left out.

    Raises:
        OSError: the CA file cannot be read as certificates.
    """
    bus = events.ProfileBus(bus, name)

    def file(kind: str, extension: str = "json") -> Path | None:
        return settings.state_dir / f"{name}.{kind}.{extension}" if settings.state_dir else None

    # The keeper is built below, and the road asks it for the session id.
    road = road_of(
        *(settings, load_credential, clock, bus, redactor, file),
        session_id=lambda: keeper.session_id(),  # noqa: PLW0108
        ration=options.handshake_ration(),
    )
    upstream = road.upstream
    limits = options.limits or Limits.of(upstream.traits)
    ceiling = ceiling or AddressCeiling(clock)
    penalty_box = PenaltyBox(file("penalty"), bus, clock.utc, upstream.traits)
    ceiling.join(name, penalty_box)
    persistent_windows = PersistentWindows(file("paces"), bus, clock.utc, upstream.traits)
    admission, completion = AdmissionController(limits, clock), CompleteReads(clock, upstream.traits)
    cached_reads = options.cached_reads(clock, admission.is_overtaken)
    suppressed_questions = SuppressedQuestions(file("suppressed"), bus)
    selected_account = SelectedAccount(file("selected_account") if road.offers_brokerage else None, bus)
    keeper = Keeper(
        name,
        road.session_api(
            KeeperUpstream(
                upstream, admission, penalty_box, cached_reads, completion.observer, persistent_windows.record, ceiling
            )
        ),
        Policy(
            *(road.check_interval_s, settings.compete, settings.region, settings.maintenance, settings.resets),
            max_age_s=road.max_age_s,
            max_overdue_s=road.max_overdue_s,
            opening_interval_s=road.opening_interval_s,
        ),
        clock,
        bus,
        redactor,
        TrafficView(lambda: penalty_box.box_left_s > 0, penalty_box.enter),
        suppressed_questions.resend_call if road.offers_brokerage and not settings.read_only else lambda: None,
        selected_account,
    )
    trading_pause = TradingPause(file("paused"), bus)
    guard = OrderGuard(
        lambda: _rule_context(settings, trading_pause, keeper),
        settings.max_order_value,
        lambda conid, fields: streaming.hub.quote_row(conid, fields),  # noqa: PLW0108  # the streams are built below
    )

    session_ended: events.Subscribers[None] = events.Subscribers("session_end", bus)
    session_ended.subscribe(lambda _: cached_reads.reset_session())
    session_ended.subscribe(lambda _: completion.reset_session())
    session_gate = SessionGate(keeper, lambda: session_ended.notify(None), redactor.redact)
    journal = JournalWriter(JournalStore(file("orders", "db"), bus, clock.utc), bus, journal_threads)
    repository = OrderRepository(journal, bus, clock.utc, clock.now)
    orders = OrderService(repository, clock, options.reconcile_schedule, add_coids=settings.add_coid)
    streaming = StreamService(
        name,
        upstream.open_stream,
        keeper,
        _stream_session(keeper, upstream.traits),
        clock,
        bus,
        topic_reads(lambda context: pipeline(context)),  # noqa: PLW0108  # the pipeline is built below
    )
    observers = (
        session_gate.observe,
        selected_account.observe,
        keeper.observe,
        orders.observe_list,
        suppressed_questions.observe,
    )
    pipeline = Pipeline(
        gateway_stages(
            upstream,
            guard,
            session_gate,
            streaming,
            StreamedOrders(streaming.hub, clock, orders.recent_rows),
            cached_reads,
            completion,
            penalty_box,
            admission,
            persistent_windows,
            AddressGate(ceiling, name),
        ),
        Dispatch(upstream, keeper, observers),
    )
    uncached = pipeline.without(CachedReads, CompleteReads)
    orders.connect(OrderDependencies(pipeline, uncached, completion.prepare, guard, keeper.is_up))
    losses = SessionLosses(clock.now)
    keeper.on_change.subscribe(losses.on_session_change)
    keeper.on_change.subscribe(lambda ready: None if ready else session_ended.notify(None))
    keeper.on_change.subscribe(lambda ready: orders.reconciler.on_session_ready() if ready else None)
    keeper.on_change.subscribe(lambda _: streaming.on_session_change(_stream_session(keeper, upstream.traits)))
    return Profile(
        name=name,
        settings=settings,
        address=road.address,
        upstream=upstream,
        upstream_state=road.state,
        keeper=keeper,
        session_gate=session_gate,
        session_losses=losses,
        admission=admission,
        penalty_box=penalty_box,
        persistent_windows=persistent_windows,
        trading_pause=trading_pause,
        completion=completion,
        cached_reads=cached_reads,
        orders=orders,
        suppressed_questions=suppressed_questions,
        selected_account=selected_account,
        streaming=streaming,
        pipeline=pipeline,
        ceiling=ceiling,
    )


def _rule_context(settings: Settings, trading_pause: TradingPause, keeper: Keeper) -> RuleContext:
    """What the rules may rely on now."""
    return RuleContext(
        read_only=settings.read_only,
        paper_mode=settings.trading_mode is Mode.PAPER,
        paused=trading_pause.is_on,
        allowed=settings.allowed_accounts,
        max_quantity=settings.max_order_quantity,
        max_value=settings.max_order_value,
        paid_snapshots=settings.allow_paid_snapshots,
        session_accounts=keeper.accounts.numbers,
        session_groups=keeper.accounts.groups | {ALL_ACCOUNTS},
        login_accounts=keeper.accounts.known,
        session_is_paper=keeper.accounts.paper,
        login_is_paper=keeper.accounts.login_is_paper,
    )


def _stream_session(keeper: Keeper, traits: UpstreamTraits) -> StreamSession:
    """What the streams need to know of the session; where there is no stream, the feed never opens a websocket."""
    session = keeper.session
    ready = session.state is SessionState.READY
    message = {
        "state": session.state.value,
        "authenticated": ready,
        "reason": session.reason,
        "hint": keeper.hint(session),
        "since": utc_text(keeper.since),
    }
    return StreamSession(
        message,
        session.reason if traits.has_stream or not ready else NO_STREAM,
        ready and traits.has_stream,
        is_lost=session.state in STATES_WITHOUT_SESSION,
        is_silent=session.observation is Observation.TIMEOUT,
    )
