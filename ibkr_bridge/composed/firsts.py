"""What IBKR wants to be asked before a call: asked for the caller, once in a session.

Whatever was asked anyway, by the keeper or by another caller, counts. That something failed is no reason not to go on:
IBKR's own answer to the call then tells what is wrong.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping

from ibkr_bridge.catalogue import ACCOUNTS, DEFINITIONS, FARM, PORTFOLIO_ACCOUNTS, SEARCH, SNAPSHOT, target
from ibkr_bridge.composed import Ask
from ibkr_bridge.composed.asked import contract_ids, instruments, listed
from ibkr_bridge.endpoint import Endpoint, Need
from ibkr_bridge.telling import as_object, as_rows
from ibkr_bridge.upstream.base import Answer, Call
from ibkr_bridge.upstream.headers import upwards

EVERYTHING = ("",)
MOST_KEPT = 20_000  # things that were asked in one session; a caller could ask for all numbers there are
PRICES = "31,84,86"  # last, bid, ask
DERIVED = frozenset({"OPT", "FOP", "FUT", "WAR", "IOPT", "CFD"})
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
        """Ask for one of them, whether or not it was asked before."""
        met, about = self._met, list(about)
        await ASKED[need](ask, about)
        _keep(met, need, about)

    async def see_to_underlyings(self, instruments: Iterable[str], ask: Ask) -> None:
        """Search for what these derive from, where they are derivatives: until then they have no quotes."""
        missing = self._missing(Need.SEARCH, contract_ids(each.partition("@")[0] for each in instruments))
        if missing:
            met = self._met
            await _search(ask, missing, only=DERIVED)
            _keep(met, Need.SEARCH, missing)

    def _missing(self, need: Need, about: Iterable[str]) -> list[str]:
        return [each for each in about if (need, each) not in self._met]


def _keep(met: set[tuple[Need, str]], need: Need, about: Iterable[str]) -> None:
    if len(met) > MOST_KEPT:
        met.clear()
    met.update((need, each) for each in about)


def _get(segments: tuple[str, ...], query: str = "") -> Call:
    return Call("GET", target(segments) + query, upwards(()))


async def _accounts(ask: Ask, _: list[str]) -> None:
    await ask(_get(ACCOUNTS))


async def _portfolio(ask: Ask, _: list[str]) -> None:
    await ask(_get(PORTFOLIO_ACCOUNTS))


async def _farm(ask: Ask, _: list[str]) -> None:
    await ask(Call("POST", target(FARM), upwards(JSON), b"{}"))


async def _quote(ask: Ask, conids: list[str]) -> None:
    await ask(_get(SNAPSHOT, f"?conids={','.join(conids)}&fields={PRICES}"))


async def _search(ask: Ask, conids: list[str], only: frozenset[str] | None = None) -> None:
    """A search goes by symbol, which the contract's definition tells."""
    answer = await ask(_get(DEFINITIONS, f"?conids={','.join(conids)}"))
    found = as_object(answer.body).get("secdef") if answer.rest is None else None
    known = [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
    wanted = [each for each in known if only is None or each.get("assetClass") in only]
    for symbol in dict.fromkeys(str(each.get("ticker", "")) for each in wanted):
        if symbol.isascii() and symbol.isalnum():
            await ask(_get(SEARCH, f"?symbol={symbol}"))


ASKED: Mapping[Need, Callable[[Ask, list[str]], Awaitable[None]]] = {
    Need.ACCOUNTS: _accounts,
    Need.PORTFOLIO: _portfolio,
    Need.HISTORY_FARM: _farm,
    Need.SEARCH: _search,
    Need.QUOTE: _quote,
}
