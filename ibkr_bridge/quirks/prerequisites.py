"""What IBKR wants to be asked before a call: asked for the caller, once in a session.

Whatever was asked anyway, by the keeper or by another caller, counts. That something failed is no reason not to go on,
as IBKR's own answer to the call tells what is wrong; it is asked again before the next one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from urllib.parse import quote

from ibkr_bridge.calls.header_policy import upwards
from ibkr_bridge.calls.messages import Answer, Ask, Call
from ibkr_bridge.calls.parameters import contract_ids, instruments, listed
from ibkr_bridge.ibkr.bodies import as_object, as_rows
from ibkr_bridge.ibkr.catalogue import ACCOUNTS, DEFINITIONS, FARM, PORTFOLIO_ACCOUNTS, SEARCH, SNAPSHOT, target
from ibkr_bridge.ibkr.endpoint import Endpoint, Need

EVERYTHING = ("",)
MOST_KEPT = 20_000  # things that were asked in one session; a caller could ask for all numbers there are
PRICES = "31,84,86"  # last, bid, ask
DERIVED = frozenset({"OPT", "FOP", "FUT", "WAR", "IOPT", "CFD"})
LONGEST_SYMBOL = 40  # characters
JSON = (("Content-Type", "application/json"),)

ABOUT: Mapping[Need, Callable[[Call], Iterable[str]]] = {  # what each need of a call is about
    Need.ACCOUNTS: lambda call: EVERYTHING,
    Need.PORTFOLIO: lambda call: EVERYTHING,
    Need.HISTORY_FARM: lambda call: EVERYTHING,
    Need.SEARCH: lambda call: contract_ids(listed(call, "conid")),
    Need.QUOTE: instruments,
}
MET: Mapping[Need, Callable[[Call, Answer], Iterable[str]]] = {  # and what an answer that meets it was about
    Need.ACCOUNTS: lambda call, answer: EVERYTHING,
    Need.PORTFOLIO: lambda call, answer: EVERYTHING,
    Need.HISTORY_FARM: lambda call, answer: EVERYTHING,
    Need.SEARCH: lambda call, answer: (str(row.get("conid")) for row in as_rows(answer.body) or ()),
    Need.QUOTE: lambda call, answer: (conid.partition("@")[0] for conid in listed(call, "conids")),
}


Notice = Callable[[Endpoint, Call, Answer], None]
"""Is told of an answer."""


class Firsts:
    """What has been asked in this session."""

    def __init__(self) -> None:
        self._met: set[tuple[Need, str]] = set()  # another one for each session: late answers go to the old one

    def __repr__(self) -> str:
        return f"<Firsts {len(self._met)} asked>"

    def forget(self) -> None:
        """Another session has to be asked anew."""
        self._met = set()

    def noticing(self) -> Notice:
        """Somebody asks; what is to be told of the answer."""
        met = self._met

        def notice(row: Endpoint, call: Call, answer: Answer) -> None:
            if row.meets is not None and answer.status == 200 and answer.rest is None:
                _keep(met, row.meets, MET[row.meets](call, answer))

        return notice

    def is_first(self, call: Call) -> bool:
        """Whether this very call has not been asked before; it has from now on."""
        first = (Need.TWICE, call.target) not in self._met
        _keep(self._met, Need.TWICE, (call.target,))
        return first

    def not_asked(self, call: Call) -> None:
        """It could not be asked a second time; the next one counts as the first."""
        self._met.discard((Need.TWICE, call.target))

    async def see_to(self, row: Endpoint, call: Call, ask: Ask) -> None:
        """Ask what a call of this row needs and has not been asked yet.

        Raises:
            BridgeError: it could not be asked.
        """
        for need in row.needs:
            missing = self._missing(need, ABOUT[need](call)) if need in ABOUT else []
            if missing:
                await self.ask_for(need, ask, missing)

    async def ask_for(self, need: Need, ask: Ask, about: Iterable[str] = EVERYTHING) -> None:
        """Ask for one of them, whether or not it was asked before; what was not answered well counts as not asked."""
        met = self._met
        _keep(met, need, await ASKED[need](ask, list(about)))

    async def see_to_underlyings(self, instruments: Iterable[str], ask: Ask) -> None:
        """Search for what these derive from, where they are derivatives: until then they have no quotes."""
        missing = self._missing(Need.UNDERLYING, contract_ids(each.partition("@")[0] for each in instruments))
        if missing:
            met = self._met
            _keep(met, Need.UNDERLYING, await _underlyings(ask, self._missing(Need.SEARCH, missing)))

    def _missing(self, need: Need, about: Iterable[str]) -> list[str]:
        return [each for each in about if (need, each) not in self._met]


def _keep(met: set[tuple[Need, str]], need: Need, about: Iterable[str]) -> None:
    if len(met) > MOST_KEPT:
        met.clear()
    met.update((need, each) for each in about)


def _get(segments: tuple[str, ...], query: str = "") -> Call:
    return Call("GET", target(segments) + query, upwards(()))


def _once(call: Call) -> Callable[[Ask, list[str]], Awaitable[Iterable[str]]]:
    async def asked(ask: Ask, _: list[str]) -> Iterable[str]:
        return EVERYTHING if (await ask(call)).status == 200 else ()

    return asked


async def _quote(ask: Ask, conids: list[str]) -> Iterable[str]:
    answer = await ask(_get(SNAPSHOT, f"?conids={','.join(conids)}&fields={PRICES}"))
    return conids if answer.status == 200 else ()


async def _search(ask: Ask, conids: list[str]) -> Iterable[str]:
    """Search for these; those that were."""
    return await _searched(ask, await _definitions(ask, conids))


async def _underlyings(ask: Ask, conids: list[str]) -> Iterable[str]:
    """Search for those that are derivatives; these, and those that are none."""
    if not conids:
        return ()
    known = await _definitions(ask, conids)
    others = [conid for conid, (kind, _) in known.items() if kind not in DERIVED]
    return [*others, *await _searched(ask, {conid: known[conid] for conid in known if conid not in others})]


async def _definitions(ask: Ask, conids: list[str]) -> dict[str, tuple[str, str]]:
    """Kind and symbol of contracts, by their ids."""
    answer = await ask(_get(DEFINITIONS, f"?conids={','.join(conids)}"))
    told = as_object(answer.body).get("secdef") if answer.status == 200 and answer.rest is None else None
    found = [each for each in told if isinstance(each, dict)] if isinstance(told, list) else []
    return {str(each.get("conid")): (str(each.get("assetClass")), str(each.get("ticker") or "")) for each in found}


async def _searched(ask: Ask, known: Mapping[str, tuple[str, str]]) -> list[str]:
    """A search goes by symbol, which the contract's definition tells."""
    symbols = dict.fromkeys(symbol for _, symbol in known.values() if symbol and len(symbol) <= LONGEST_SYMBOL)
    answers = {symbol: await ask(_get(SEARCH, f"?symbol={quote(symbol, safe='')}")) for symbol in symbols}
    return [conid for conid, (_, symbol) in known.items() if symbol in answers and answers[symbol].status == 200]


ASKED: Mapping[Need, Callable[[Ask, list[str]], Awaitable[Iterable[str]]]] = {  # each says what it has been asked for
    Need.ACCOUNTS: _once(_get(ACCOUNTS)),
    Need.PORTFOLIO: _once(_get(PORTFOLIO_ACCOUNTS)),
    Need.HISTORY_FARM: _once(Call("POST", target(FARM), upwards(JSON), b"{}")),
    Need.SEARCH: _search,
    Need.QUOTE: _quote,
}
