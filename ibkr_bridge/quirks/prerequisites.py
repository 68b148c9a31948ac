"""Prerequisites: calls that IBKR wants before another one; the bridge makes them once in a session.

A call that was made anyway, by the keeper or by another caller, counts. A failed prerequisite does not stop the call:
IBKR's response will say what is wrong. It is retried before the next call.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from urllib.parse import quote

from ibkr_bridge.calls.header_policy import JSON_HEADERS, request_headers
from ibkr_bridge.calls.messages import Call, FetchCall, Response
from ibkr_bridge.calls.parameters import contract_ids, list_values, order_contract_ids
from ibkr_bridge.ibkr.bodies import parse_object, parse_rows
from ibkr_bridge.ibkr.catalogue import (
    ACCOUNTS,
    HMDS_INIT,
    PORTFOLIO_ACCOUNTS,
    SECDEF_SEARCH,
    SNAPSHOT,
    TRSRV_SECDEF,
    api_path,
)
from ibkr_bridge.ibkr.endpoint import Endpoint, Prerequisite

WHOLE_SESSION = ("",)
MAX_REMEMBERED = 20_000  # prerequisites of one session; a caller could request any number of contracts
PRICE_FIELDS = "31,84,86"  # last, bid, ask
DERIVATIVE_TYPES = frozenset({"OPT", "FOP", "FUT", "WAR", "IOPT", "CFD"})
MAX_SYMBOL_LENGTH = 40  # characters

REQUIRED_FOR: Mapping[Prerequisite, Callable[[Call], Iterable[str]]] = {  # the subjects of each prerequisite of a call
    Prerequisite.ACCOUNTS: lambda call: WHOLE_SESSION,
    Prerequisite.PORTFOLIO: lambda call: WHOLE_SESSION,
    Prerequisite.HISTORY_FARM: lambda call: WHOLE_SESSION,
    Prerequisite.SEARCH: lambda call: contract_ids(list_values(call, "conid")),
    Prerequisite.QUOTE: order_contract_ids,
}
SATISFIED_BY: Mapping[
    Prerequisite, Callable[[Call, Response], Iterable[str]]
] = {  # the subjects for which a response satisfies it
    Prerequisite.ACCOUNTS: lambda call, response: WHOLE_SESSION,
    Prerequisite.PORTFOLIO: lambda call, response: WHOLE_SESSION,
    Prerequisite.HISTORY_FARM: lambda call, response: WHOLE_SESSION,
    Prerequisite.SEARCH: lambda call, response: (str(row.get("conid")) for row in parse_rows(response.body) or ()),
    Prerequisite.QUOTE: lambda call, response: (conid.partition("@")[0] for conid in list_values(call, "conids")),
}


Observer = Callable[[Endpoint, Call, Response], None]
"""Receives a response."""


class Prerequisites:
    """The prerequisites that are satisfied in this session."""

    def __init__(self) -> None:
        # Each session has a set of its own: late responses of the last session are added to the old set.
        self._met: set[tuple[Prerequisite, str]] = set()

    def __repr__(self) -> str:
        return f"<Prerequisites {len(self._met)} asked>"

    def reset_session(self) -> None:
        """Forget all: a new session needs them again."""
        self._met = set()

    def observer(self) -> Observer:
        """Returns the function that records what the response of a call satisfies."""
        met = self._met

        def notice(endpoint: Endpoint, call: Call, response: Response) -> None:
            if endpoint.satisfies is not None and response.status == 200 and response.body_stream is None:
                _remember(met, endpoint.satisfies, SATISFIED_BY[endpoint.satisfies](call, response))

        return notice

    def is_first_request(self, call: Call) -> bool:
        """Returns whether this call is the first of its kind, and records it."""
        first = (Prerequisite.TWICE, call.target) not in self._met
        _remember(self._met, Prerequisite.TWICE, (call.target,))
        return first

    def unmark(self, call: Call) -> None:
        """Forget a call that could not be sent a second time; the next one counts as the first."""
        self._met.discard((Prerequisite.TWICE, call.target))

    async def ensure(self, endpoint: Endpoint, call: Call, send: FetchCall) -> None:
        """Send the prerequisites that this call needs and that are not satisfied yet.

        Raises:
            BridgeError: one could not be sent.
        """
        for need in endpoint.prerequisites:
            missing = self._missing(need, REQUIRED_FOR[need](call)) if need in REQUIRED_FOR else []
            if missing:
                await self.fetch(need, send, missing)

    async def fetch(self, need: Prerequisite, send: FetchCall, about: Iterable[str] = WHOLE_SESSION) -> None:
        """Send one prerequisite in any case; without a good response it counts as not satisfied."""
        met = self._met
        _remember(met, need, await FETCHERS[need](send, list(about)))

    async def ensure_underlyings(self, instruments: Iterable[str], send: FetchCall) -> None:
        """Search for the underlyings of derivatives: before that they have no quotes."""
        missing = self._missing(Prerequisite.UNDERLYING, contract_ids(each.partition("@")[0] for each in instruments))
        if missing:
            met = self._met
            _remember(
                met,
                Prerequisite.UNDERLYING,
                await _search_underlyings(send, self._missing(Prerequisite.SEARCH, missing)),
            )

    def _missing(self, need: Prerequisite, about: Iterable[str]) -> list[str]:
        return [each for each in about if (need, each) not in self._met]


def _remember(met: set[tuple[Prerequisite, str]], need: Prerequisite, about: Iterable[str]) -> None:
    if len(met) > MAX_REMEMBERED:
        met.clear()
    for each in about:
        met.add((need, each))


def _fetch_of(segments: tuple[str, ...], query: str = "") -> Call:
    return Call("GET", api_path(segments) + query, request_headers(()))


def _for_session(call: Call) -> Callable[[FetchCall, list[str]], Awaitable[Iterable[str]]]:
    async def send_and_check(send: FetchCall, _: list[str]) -> Iterable[str]:
        return WHOLE_SESSION if (await send(call)).status == 200 else ()

    return send_and_check


async def _fetch_quotes(send: FetchCall, conids: list[str]) -> Iterable[str]:
    response = await send(_fetch_of(SNAPSHOT, f"?conids={','.join(conids)}&fields={PRICE_FIELDS}"))
    return conids if response.status == 200 else ()


async def _search_contracts(send: FetchCall, conids: list[str]) -> Iterable[str]:
    """Search for these contracts; returns those that were found."""
    return await _search_symbols(send, await _fetch_definitions(send, conids))


async def _search_underlyings(send: FetchCall, conids: list[str]) -> Iterable[str]:
    """Search for those that are derivatives; returns them and those that are not derivatives."""
    if not conids:
        return ()
    definitions = await _fetch_definitions(send, conids)
    others = [conid for conid, (kind, _) in definitions.items() if kind not in DERIVATIVE_TYPES]
    return [
        *others,
        *await _search_symbols(send, {conid: definitions[conid] for conid in definitions if conid not in others}),
    ]


async def _fetch_definitions(send: FetchCall, conids: list[str]) -> dict[str, tuple[str, str]]:
    """Asset class and symbol of contracts by their ids."""
    response = await send(_fetch_of(TRSRV_SECDEF, f"?conids={','.join(conids)}"))
    listed = (
        parse_object(response.body).get("secdef") if response.status == 200 and response.body_stream is None else None
    )
    rows = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    return {str(each.get("conid")): (str(each.get("assetClass")), str(each.get("ticker") or "")) for each in rows}


async def _search_symbols(send: FetchCall, definitions: Mapping[str, tuple[str, str]]) -> list[str]:
    """A search needs the symbol, which is in the contract's definition."""
    symbols = dict.fromkeys(symbol for _, symbol in definitions.values() if symbol and len(symbol) <= MAX_SYMBOL_LENGTH)
    responses = {
        symbol: await send(_fetch_of(SECDEF_SEARCH, f"?symbol={quote(symbol, safe='')}")) for symbol in symbols
    }
    return [
        conid for conid, (_, symbol) in definitions.items() if symbol in responses and responses[symbol].status == 200
    ]


FETCHERS: Mapping[
    Prerequisite, Callable[[FetchCall, list[str]], Awaitable[Iterable[str]]]
] = {  # each returns the subjects that it satisfied
    Prerequisite.ACCOUNTS: _for_session(_fetch_of(ACCOUNTS)),
    Prerequisite.PORTFOLIO: _for_session(_fetch_of(PORTFOLIO_ACCOUNTS)),
    Prerequisite.HISTORY_FARM: _for_session(Call("POST", api_path(HMDS_INIT), request_headers(JSON_HEADERS), b"{}")),
    Prerequisite.SEARCH: _search_contracts,
    Prerequisite.QUOTE: _fetch_quotes,
}
