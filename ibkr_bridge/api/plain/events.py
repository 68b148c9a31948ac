"""`GET /events`: one stream for a page, with everything that it shows, in the shapes of the plain API.

Session, orders, trades and quotes come from the hub as they change. Accounts and positions are fetched every few
seconds, since IBKR has no complete stream of them, and only what has changed is sent. All pages together cost one call,
as identical reads are shared and cached.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress

from aiohttp import web

from ibkr_bridge.api.plain.accounts import fetch_account, fetch_all_positions, fetch_entries
from ibkr_bridge.api.plain.answers import list_parameter
from ibkr_bridge.api.plain.event_encoding import (
    ORDERS,
    QUOTES,
    SESSION,
    TRADES,
    PlainEncoding,
    encoding_of,
    sse_model,
)
from ibkr_bridge.api.plain.journal import order_view
from ibkr_bridge.api.plain.plain_reader import PlainReader
from ibkr_bridge.api.plain.quotes import fetch_quotes
from ibkr_bridge.api.plain.symbol_resolution import describe_if_possible, parse_conid, resolve_symbol, symbol_query
from ibkr_bridge.api.stream_sse import run_stream
from ibkr_bridge.errors import BadRequest, BridgeError
from ibkr_bridge.ibkr.endpoint import Effect
from ibkr_bridge.models.base import Model
from ibkr_bridge.server.app_keys import CLOCK, CONDITIONS, REQUEST_CONTEXT, profile_of
from ibkr_bridge.streaming.market_data_lines import MAX_MARKET_DATA_LINES
from ibkr_bridge.streaming.protocol import Subscribe, Topic, TopicKind
from ibkr_bridge.streaming.subscriber import Subscriber
from ibkr_bridge.translation.instruments import LISTED_CLASSES
from ibkr_bridge.translation.quotes import REQUESTED_FIELDS

ACCOUNT, POSITIONS = "account", "positions"
TOPICS = (SESSION, ACCOUNT, POSITIONS, ORDERS, TRADES, QUOTES)
HUB_TOPICS = {SESSION: TopicKind.SESSION, ORDERS: TopicKind.ORDERS, TRADES: TopicKind.TRADES}
POLL_INTERVAL_S = 5.0  # seconds between two reads of accounts and positions; balances are cached for two
IGNORED_MEMBERS = frozenset({"as_of"})  # a change of the time alone is no change


async def open_events(request: web.Request) -> web.StreamResponse:
    """Events of several topics on one stream."""
    topics = list_parameter(request, "topics") or [topic for topic in TOPICS if topic != QUOTES]
    symbols, numbers = list_parameter(request, "symbols"), list_parameter(request, "conids")
    _check_topics(topics, symbols + numbers)
    principal, profile = request[REQUEST_CONTEXT].principal, profile_of(request)
    may_trade = principal is not None and Effect.TRADE in principal.effects
    board = request.app[CONDITIONS]
    encoding = encoding_of(profile, order_view(request), lambda: board.current(profile.name), may_trade=may_trade)
    conids = await _resolve(request, encoding, symbols, numbers) if QUOTES in topics else []
    fields = {"fields": list(REQUESTED_FIELDS)}
    subscriptions = [
        *(Subscribe(Topic(HUB_TOPICS[topic])) for topic in topics if topic in HUB_TOPICS),
        *(Subscribe(Topic(TopicKind.QUOTES, str(conid)), fields) for conid in conids),
    ]
    companion = PageCompanion(request, encoding, frozenset(topics))
    return await run_stream(request, subscriptions, encoding=encoding, companion=companion)


def _check_topics(topics: list[str], instruments: list[str]) -> None:
    if set(topics) - set(TOPICS):
        raise BadRequest("an unknown topic", field="topics", hint=f"use one or more of {', '.join(TOPICS)}")
    if (QUOTES in topics) != bool(instruments):
        raise BadRequest(
            "quotes need symbols or conids, and these need the topic quotes",
            field="symbols",
            hint="write /events?topics=quotes&symbols=AAPL,ES@CME",
        )
    if len(instruments) > MAX_MARKET_DATA_LINES:
        raise BadRequest(f"at most {MAX_MARKET_DATA_LINES} instruments can be streamed", field="symbols")


async def _resolve(request: web.Request, encoding: PlainEncoding, symbols: list[str], numbers: list[str]) -> list[int]:
    """The numbers of the instruments; their symbols are remembered for the events."""
    reader = PlainReader(request)
    conids = [await resolve_symbol(reader, symbol_query(text, field="symbols"), "symbols") for text in symbols]
    conids = list(dict.fromkeys([*conids, *(parse_conid(text, "conids") for text in numbers)]))
    instruments = await describe_if_possible(reader, conids)
    encoding.remember(instruments)
    await _prepare(reader, [each.conid for each in instruments.values() if each.asset_class not in LISTED_CLASSES])
    return conids


async def _prepare(reader: PlainReader, derivatives: list[int]) -> None:
    """IBKR streams a derivative only after its underlying was searched for; a quote snapshot does that."""
    if derivatives:
        with suppress(BridgeError):  # the stream itself shows what is missing
            await fetch_quotes(reader, derivatives)


class PageCompanion:
    """Sends accounts, positions and the orders of the journal on one stream.

    Args:
        request: of the stream.
        encoding: writes its events.
        topics: what was asked for.
    """

    def __init__(self, request: web.Request, encoding: PlainEncoding, topics: frozenset[str]) -> None:
        self.interval_s = POLL_INTERVAL_S
        self._request = request
        self._profile = profile_of(request)  # it may be removed while the stream is open
        self._encoding = encoding
        self._topics = topics
        self._subscriber: Subscriber | None = None
        self._sent: dict[str, object] = {}
        self._stale: set[str] = set()

    def __repr__(self) -> str:
        return f"<PageCompanion of {', '.join(sorted(self._topics))}>"

    @asynccontextmanager
    async def running(self, subscriber: Subscriber) -> AsyncIterator[None]:
        """See `StreamCompanion`."""
        self._subscriber = subscriber
        if ORDERS in self._topics:
            for record in self._profile.orders.repository.index.open_records():
                subscriber.enqueue_bytes(self._encoding.order_event(record))
            self._encoding.order_subscribers.add(subscriber)
        try:
            await self.work()
            yield
        finally:
            self._encoding.order_subscribers.discard(subscriber)

    async def work(self) -> None:
        """See `StreamCompanion`: fetch accounts and positions, and send what has changed."""
        for topic, fetch in ((ACCOUNT, self._fetch_accounts), (POSITIONS, self._fetch_positions)):
            if topic in self._topics:
                await self._refresh(topic, fetch)

    async def _refresh(self, topic: str, fetch: Callable[[], Awaitable[list[tuple[str, Model]]]]) -> None:
        try:
            shapes = await fetch()
        except BridgeError as exc:
            self._mark_stale(topic, exc)
            return
        if topic in self._stale:
            self._stale.discard(topic)
            self._send("fresh", {"topic": topic, "reason": "ready", "since": self._now()})
        for name, shape in shapes:
            figures = {each: getattr(shape, each) for each in shape.__struct_fields__ if each not in IGNORED_MEMBERS}
            if self._sent.get(name) != figures:
                self._sent[name] = figures
                self._send(topic, shape)

    async def _fetch_accounts(self) -> list[tuple[str, Model]]:
        reader = PlainReader(self._request)
        entries, _ = await fetch_entries(self._request, reader)
        return [(f"{ACCOUNT} {entry.id}", await fetch_account(reader, entry)) for entry in entries]

    async def _fetch_positions(self) -> list[tuple[str, Model]]:
        return [(POSITIONS, await fetch_all_positions(self._request, PlainReader(self._request)))]

    def _mark_stale(self, topic: str, error: BridgeError) -> None:
        if topic not in self._stale:
            self._stale.add(topic)
            detail = {"topic": topic, "reason": error.code, "since": self._now(), "detail": error.detail}
            self._send("stale", detail)

    def _now(self) -> str:
        return self._request.app[CLOCK].utc().isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def _send(self, name: str, shape: Model | Mapping[str, object]) -> None:
        if self._subscriber is not None:
            self._subscriber.enqueue_bytes(sse_model(name, shape))
            self._profile.streaming.hub.schedule_flush()
