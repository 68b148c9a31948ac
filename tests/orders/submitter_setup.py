"""An order submitter with a journal of its own, and a function in place of IBKR that a test controls."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from ibkr_bridge.calls.context import FirstByteHook
from ibkr_bridge.calls.facts import RequestFacts
from ibkr_bridge.calls.messages import Call, OnLateResponse, Response, noop
from ibkr_bridge.errors import BridgeError
from ibkr_bridge.events import Bus
from ibkr_bridge.ibkr.endpoint import OrderOperation
from ibkr_bridge.orders.journal.order_record import OrderRecord
from ibkr_bridge.orders.journal.repository import OrderRepository
from ibkr_bridge.orders.journal.store import JournalStore
from ibkr_bridge.orders.journal.writer import JournalWriter
from ibkr_bridge.orders.request import OrderRequest
from ibkr_bridge.orders.submission import OrderSubmitter
from tests.calls.stage_setup import context_for
from tests.clocks import ManualClock

ORDERS = "/iserver/account/DU1/orders"
TICKET = b'{"orders":[{"acctId":"DU1","conid":8,"side":"BUY","orderType":"MKT","quantity":1,"tif":"DAY"}]}'
TICKET_WITH_COID = TICKET.replace(b'"conid"', b'"cOID":"mine","conid"')
ACCEPTED = b'[{"order_id":"77","order_status":"Submitted"}]'
QUESTION = b'[{"id":"r1","message":["sure?"],"messageIds":["o163"]}]'

TICKET_AND_QUESTION = b'[{"order_id":"77","order_status":"Submitted"},{"id":"r1","message":["sure?"]}]'
"""One ticket of a placement is placed, about another one IBKR asks."""


def ibkr_response(body: bytes, status: int = 200) -> Response:
    """A JSON response of IBKR."""
    return Response(status, {"Content-Type": "application/json"}, body)


def states_on_disk(path: Path) -> list[str]:
    """The states of all entries in a journal, read by a second connection: what a kill would leave."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as file:
        return [state for (state,) in file.execute("SELECT state FROM entry ORDER BY number")]


class FakeIbkr:
    """Takes calls in place of IBKR: it writes the entry, counts the first byte as sent and returns planned responses.

    Args:
        plan: the responses in order; the last one is repeated. An exception is raised after the first byte.
    """

    def __init__(self, *plan: Response | BaseException) -> None:
        self.plan = list(plan or (ibkr_response(ACCEPTED),))
        self.calls: list[Call] = []
        self.facts: list[RequestFacts] = []
        """The facts of each call, which the rules check."""
        self.error_before_entry: BaseException | None = None
        """If set, it is raised before the journal entry is written."""
        self.may_respond = asyncio.Event()
        self.may_respond.set()
        self.is_inside = asyncio.Event()
        self.on_late_response: OnLateResponse = lambda _: None
        self.on_first_byte: Callable[[], None] = noop
        """Called in the step in which the bytes are handed over."""

    async def __call__(
        self,
        call: Call,
        facts: RequestFacts,
        before_first_byte: FirstByteHook,
        is_connected: Callable[[], bool],
        on_late_response: OnLateResponse,
    ) -> Response:
        """See `SendOrderCall`."""
        if self.error_before_entry is not None:
            raise self.error_before_entry
        await before_first_byte.write_entry()
        self.on_first_byte()
        before_first_byte.has_left = True
        self.calls.append(call)
        self.facts.append(facts)
        self.on_late_response = on_late_response
        self.is_inside.set()
        await self.may_respond.wait()
        response = self.plan.pop(0) if len(self.plan) > 1 else self.plan[0]
        if isinstance(response, BaseException):
            raise response
        return response

    @property
    def bodies(self) -> list[bytes]:
        """The bodies that were sent, in order."""
        return [call.body for call in self.calls]


class SubmitterSetup:
    """An order submitter with its journal and a clock."""

    def __init__(self, path: Path, *, add_coids: bool = True) -> None:
        self.path = path
        self.clock = ManualClock()
        bus = Bus()
        self.repository = OrderRepository(
            JournalWriter(JournalStore(path, bus, self.clock.utc), bus), bus, self.clock.utc
        )
        self.wait_error: BridgeError | None = None
        self.submitter = OrderSubmitter(self.repository, self.clock, self._wait, add_coids=add_coids)
        self.ibkr = FakeIbkr()

    async def _wait(self, _: OrderRequest) -> None:
        if self.wait_error is not None:
            raise self.wait_error

    def request(
        self,
        body: bytes = TICKET,
        operation: OrderOperation = OrderOperation.PLACE,
        *,
        method: str = "POST",
        path: str = ORDERS,
        owner: str = "one",
        **attributes: object,
    ) -> OrderRequest:
        """The request of a caller; `attributes` are set on it."""
        request = OrderRequest(
            context_for(method, path, body, key_label=owner, max_wait_s=5.0),
            operation,
            owner,
            "req",
            account="DU1",
            path_id=path.rpartition("/")[2],
            send=self.ibkr,
        )
        for name, value in attributes.items():
            setattr(request, name, value)
        return request

    async def submit(self, request: OrderRequest) -> Response:
        """Submit a request."""
        return await self.submitter.submit(request)

    async def reply(self, reply_id: str, *, confirmed: bool, owner: str = "one") -> Response:
        """Submit the reply of a caller to a question."""
        body = b'{"confirmed":true}' if confirmed else b'{"confirmed":false}'
        path = f"/iserver/reply/{reply_id}"
        return await self.submit(self.request(body, OrderOperation.REPLY, path=path, owner=owner))

    def states_on_disk(self) -> list[str]:
        """See the function of this name."""
        return states_on_disk(self.path)

    async def event_names(self, record: OrderRecord) -> list[str]:
        """The names of an order's events in the journal."""
        rows = await self.repository.journal.read_all()
        return [entry.what.value for _, entry, _ in rows if entry.order_id == record.id]

    @property
    def records(self) -> list[OrderRecord]:
        """All orders, the earliest first."""
        return list(self.repository.index.newest_first())[::-1]
