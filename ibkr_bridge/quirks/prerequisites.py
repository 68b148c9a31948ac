"""What IBKR wants to be asked before a call: asked for the caller, once in a session.

Whatever was asked anyway, by the keeper or by another caller, counts. That something failed is no reason not to go on,
as IBKR's own answer to the call tells what is wrong; it is asked again before the next one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from urllib.parse import quote

from ibkr_bridge.calls.header_policy import request_headers
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
MAX_REMEMBERED = 20_000  # things that were asked in one session; a caller could ask for all numbers there are
PRICE_FIELDS = "31,84,86"  # last, bid, ask
DERIVATIVE_TYPES = frozenset({"OPT", "FOP", "FUT", "WAR", "IOPT", "CFD"})
MAX_SYMBOL_LENGTH = 40  # characters
JSON_HEADERS = (("Content-Type", "application/json"),)

REQUIRED_FOR: Mapping[Prerequisite, Callable[[Call], Iterable[str]]] = {  # what each need of a call is about
    Prerequisite.ACCOUNTS: lambda call: WHOLE_SESSION,
    Prerequisite.PORTFOLIO: lambda call: WHOLE_SESSION,
    Prerequisite.HISTORY_FARM: lambda call: WHOLE_SESSION,
    Prerequisite.SEARCH: lambda call: contract_ids(list_values(call, "conid")),
    Prerequisite.QUOTE: order_contract_ids,
}
SATISFIED_BY: Mapping[
    Prerequisite, Callable[[Call, Response], Iterable[str]]
] = {  # and what an answer that meets it was about
    Prerequisite.ACCOUNTS: lambda call, response: WHOLE_SESSION,
    Prerequisite.PORTFOLIO: lambda call, response: WHOLE_SESSION,
    Prerequisite.HISTORY_FARM: lambda call, response: WHOLE_SESSION,
    Prerequisite.SEARCH: lambda call, response: (str(row.get("conid")) for row in parse_rows(response.body) or ()),
    Prerequisite.QUOTE: lambda call, response: (conid.partition("@")[0] for conid in list_values(call, "conids")),
}


Observer = Callable[[Endpoint, Call, Response], None]
"""Is told of an answer."""


class Prerequisites:
    """What has been asked in this session."""

    def __init__(self) -> None:
        self._met: set[tuple[Prerequisite, str]] = set()  # another one for each session: late answers go to the old one

    def __repr__(self) -> str:
        return f"<Prerequisites {len(self._met)} asked>"

    def reset_session(self) -> None:
        """Another session has to be asked anew."""
        self._met = set()

    def observer(self) -> Observer:
        """Somebody asks; what is to be told of the answer."""
        met = self._met

        def notice(endpoint: Endpoint, call: Call, response: Response) -> None:
            if endpoint.satisfies is not None and response.status == 200 and response.body_stream is None:
                _remember(met, endpoint.satisfies, SATISFIED_BY[endpoint.satisfies](call, response))

        return notice

    def is_first_request(self, call: Call) -> bool:
        """Whether this very call has not been asked before; it has from now on."""
        first = (Prerequisite.TWICE, call.target) not in self._met
        _remember(self._met, Prerequisite.TWICE, (call.target,))
        return first

    def unmark(self, call: Call) -> None:
        """It could not be asked a second time; the next one counts as the first."""
        self._met.discard((Prerequisite.TWICE, call.target))

    async def ensure(self, endpoint: Endpoint, call: Call, ask: FetchCall) -> None:
        """Ask what a call of this row needs and has not been asked yet.

        Raises:
            BridgeError: it could not be asked.
        """
        for need in endpoint.prerequisites:
            missing = self._missing(need, REQUIRED_FOR[need](call)) if need in REQUIRED_FOR else []
            if missing:
                await self.fetch(need, ask, missing)

    async def fetch(self, need: Prerequisite, ask: FetchCall, about: Iterable[str] = WHOLE_SESSION) -> None:
        """Ask for one of them, whether or not it was asked before; what was not answered well counts as not asked."""
        met = self._met
        _remember(met, need, await FETCHERS[need](ask, list(about)))

    async def ensure_underlyings(self, instruments: Iterable[str], ask: FetchCall) -> None:
        """Search for what these derive from, where they are derivatives: until then they have no quotes."""
        missing = self._missing(Prerequisite.UNDERLYING, contract_ids(each.partition("@")[0] for each in instruments))
        if missing:
            met = self._met
            _remember(
                met,
                Prerequisite.UNDERLYING,
                await _search_underlyings(ask, self._missing(Prerequisite.SEARCH, missing)),
            )

    def _missing(self, need: Prerequisite, about: Iterable[str]) -> list[str]:
        return [each for each in about if (need, each) not in self._met]


def _remember(met: set[tuple[Prerequisite, str]], need: Prerequisite, about: Iterable[str]) -> None:
    if len(met) > MAX_REMEMBERED:
        met.clear()
    met.update((need, each) for each in about)


def _fetch_of(segments: tuple[str, ...], query: str = "") -> Call:
    return Call("GET", api_path(segments) + query, request_headers(()))


def _for_session(call: Call) -> Callable[[FetchCall, list[str]], Awaitable[Iterable[str]]]:
    async def asked(ask: FetchCall, _: list[str]) -> Iterable[str]:
        return WHOLE_SESSION if (await ask(call)).status == 200 else ()

    return asked


async def _fetch_quotes(ask: FetchCall, conids: list[str]) -> Iterable[str]:
    response = await ask(_fetch_of(SNAPSHOT, f"?conids={','.join(conids)}&fields={PRICE_FIELDS}"))
    return conids if response.status == 200 else ()


async def _search_contracts(ask: FetchCall, conids: list[str]) -> Iterable[str]:
    """Search for these; those that were."""
    return await _search_symbols(ask, await _fetch_definitions(ask, conids))


async def _search_underlyings(ask: FetchCall, conids: list[str]) -> Iterable[str]:
    """Search for those that are derivatives; these, and those that are none."""
    if not conids:
        return ()
    known = await _fetch_definitions(ask, conids)
    others = [conid for conid, (kind, _) in known.items() if kind not in DERIVATIVE_TYPES]
    return [*others, *await _search_symbols(ask, {conid: known[conid] for conid in known if conid not in others})]


async def _fetch_definitions(ask: FetchCall, conids: list[str]) -> dict[str, tuple[str, str]]:
    """Kind and symbol of contracts, by their ids."""
    response = await ask(_fetch_of(TRSRV_SECDEF, f"?conids={','.join(conids)}"))
    told = (
        parse_object(response.body).get("secdef") if response.status == 200 and response.body_stream is None else None
    )
    found = [each for each in told if isinstance(each, dict)] if isinstance(told, list) else []
    return {str(each.get("conid")): (str(each.get("assetClass")), str(each.get("ticker") or "")) for each in found}


async def _search_symbols(ask: FetchCall, known: Mapping[str, tuple[str, str]]) -> list[str]:
    """A search goes by symbol, which the contract's definition tells."""
    symbols = dict.fromkeys(symbol for _, symbol in known.values() if symbol and len(symbol) <= MAX_SYMBOL_LENGTH)
    responses = {symbol: await ask(_fetch_of(SECDEF_SEARCH, f"?symbol={quote(symbol, safe='')}")) for symbol in symbols}
    return [conid for conid, (_, symbol) in known.items() if symbol in responses and responses[symbol].status == 200]


FETCHERS: Mapping[
    Prerequisite, Callable[[FetchCall, list[str]], Awaitable[Iterable[str]]]
] = {  # each says what it has been asked for
    Prerequisite.ACCOUNTS: _for_session(_fetch_of(ACCOUNTS)),
    Prerequisite.PORTFOLIO: _for_session(_fetch_of(PORTFOLIO_ACCOUNTS)),
    Prerequisite.HISTORY_FARM: _for_session(Call("POST", api_path(HMDS_INIT), request_headers(JSON_HEADERS), b"{}")),
    Prerequisite.SEARCH: _search_contracts,
    Prerequisite.QUOTE: _fetch_quotes,
}
