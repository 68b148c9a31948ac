"""Accounts, balances, positions and trades."""

from __future__ import annotations

from functools import partial

from aiohttp import web

from ibkr_bridge.api.plain.answers import answer, integer_parameter, text_parameter
from ibkr_bridge.api.plain.plain_reader import Fetched, PlainReader
from ibkr_bridge.errors import AccountNotFound, BadRequest, BridgeError
from ibkr_bridge.ibkr import reads
from ibkr_bridge.models.accounts import Account, AccountEntry, AccountKind, AccountList, PositionList, TradeList
from ibkr_bridge.profiles.status import account_kind
from ibkr_bridge.server.app_keys import profile_of
from ibkr_bridge.translation.accounts import (
    AccountFigures,
    positions_in,
    read_account,
    read_account_entries,
    read_balance,
    read_trades,
)

MAX_TRADE_DAYS = 7  # IBKR has those of a week


async def list_accounts(request: web.Request) -> web.Response:
    """The accounts of the login."""
    entries, fetched = await fetch_entries(request, PlainReader(request))
    return answer(AccountList(as_of=fetched.as_of, stale=False, accounts=entries))


async def get_account(request: web.Request) -> web.Response:
    """One account with its balances and its profit and loss."""
    reader = PlainReader(request)
    entry = await find_account(request, reader)
    return answer(await fetch_account(reader, entry))


async def get_balance(request: web.Request) -> web.Response:
    """The balance of one account in a few figures; of the only one if none is named."""
    reader = PlainReader(request)
    entry = await _account_of_query(request, reader)
    return answer(read_balance(await _fetch_figures(reader, entry, is_complete=False)))


async def list_account_positions(request: web.Request) -> web.Response:
    """What one account holds."""
    reader = PlainReader(request)
    entry = await find_account(request, reader)
    return answer(await fetch_positions(reader, [entry]))


async def list_positions(request: web.Request) -> web.Response:
    """What all accounts hold."""
    reader = PlainReader(request)
    return answer(await fetch_all_positions(request, reader))


async def list_trades(request: web.Request) -> web.Response:
    """The trades of one account, the latest first."""
    days = integer_parameter(request, "days", 1, 1, MAX_TRADE_DAYS)
    reader = PlainReader(request)
    entry = await find_account(request, reader)
    fetched = await reader.fetch(reads.trades(days))
    return answer(TradeList(as_of=fetched.as_of, stale=False, trades=read_trades(fetched.value, entry.id)))


async def fetch_entries(request: web.Request, reader: PlainReader) -> tuple[list[AccountEntry], Fetched]:
    """The accounts of the login, and the answer that they are from."""
    is_paper = profile_of(request).keeper.accounts.paper
    fetched = await reader.fetch(reads.account_list())
    kinds = lambda number: AccountKind(account_kind(number, is_paper))  # noqa: E731  # it needs the flag of this login
    return read_account_entries(fetched.value, kinds), fetched


async def find_account(request: web.Request, reader: PlainReader) -> AccountEntry:
    """The account that the path names.

    Raises:
        AccountNotFound: the login does not have it.
    """
    return await _find(request, reader, request.match_info["id"])


async def _find(request: web.Request, reader: PlainReader, number: str) -> AccountEntry:
    entries, _ = await fetch_entries(request, reader)
    entry = next((each for each in entries if each.id == number), None)
    if entry is None:
        raise AccountNotFound("the login has no such account")
    return entry


async def _account_of_query(request: web.Request, reader: PlainReader) -> AccountEntry:
    number = text_parameter(request, "account")
    if number is not None:
        return await _find(request, reader, number)
    entries, _ = await fetch_entries(request, reader)
    if len(entries) != 1:
        raise BadRequest(
            f"the login has {len(entries)} accounts", field="account", hint="name one: /account/balance?account="
        )
    return entries[0]


async def fetch_account(reader: PlainReader, entry: AccountEntry) -> Account:
    """One account with its balances and its profit and loss."""
    return read_account(await _fetch_figures(reader, entry, is_complete=True))


async def _fetch_figures(reader: PlainReader, entry: AccountEntry, *, is_complete: bool) -> AccountFigures:
    """Fetch what an account is described by; the profit and loss may be missing, as it needs the brokerage session."""
    summary = await reader.fetch(reads.account_summary(entry.id))
    if not is_complete:
        return AccountFigures(entry, summary.value, None, None, summary.as_of, stale=False)
    ledger = await reader.fetch(reads.ledger(entry.id))
    try:
        pnl: Fetched | None = await reader.fetch(reads.profit_and_loss())
    except BridgeError:
        pnl = None
    as_of = min(each.as_of for each in (summary, ledger, pnl) if each is not None)
    return AccountFigures(entry, summary.value, ledger.value, pnl.value if pnl else None, as_of, stale=pnl is None)


async def fetch_all_positions(request: web.Request, reader: PlainReader) -> PositionList:
    """The positions of all accounts; a login may have none."""
    entries, fetched = await fetch_entries(request, reader)
    if not entries:
        return PositionList(as_of=fetched.as_of, stale=False, positions=[])
    return await fetch_positions(reader, entries)


async def fetch_positions(reader: PlainReader, entries: list[AccountEntry]) -> PositionList:
    """The positions of some accounts, one at least."""
    fetched = [(entry, await reader.fetch(reads.positions(entry.id))) for entry in entries]
    positions = [
        position for entry, each in fetched for position in each.translate(partial(positions_in, account=entry.id))
    ]
    return PositionList(as_of=min(each.as_of for _, each in fetched), stale=False, positions=positions)
