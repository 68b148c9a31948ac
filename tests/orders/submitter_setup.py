"""An order submitter with a journal of its own, and a function in place of IBKR that a test controls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from ibkr_bridge.calls.context import FirstByteHook
from ibkr_bridge.calls.facts import RequestFacts
from ibkr_bridge.calls.messages import Call, OnLateResponse, Response
from ibkr_bridge.errors import BridgeError
from ibkr_bridge.events import Bus
from ibkr_bridge.ibkr.endpoint import OrderOperation
from ibkr_bridge.orders.journal.order_record import OrderRecord
from ibkr_bridge.orders.journal.repository import OrderRepository
from ibkr_bridge.orders.journal.store import JournalStore
from ibkr_bridge.orders.journal.writer import JournalWriter
from ibkr_bridge.orders.request import OrderRequest
from ibkr_bridge.orders.submission import OrderSubmitter
from tests.calls.road import context_for
from tests.clocks import ManualClock

ORDERS = "/iserver/account/DU1/orders"
TICKET = b'{"orders":[{"acctId":"DU1","conid":8,"side":"BUY","orderType":"MKT","quantity":1,"tif":"DAY"}]}'
NAMED = TICKET.replace(b'"conid"', b'"cOID":"mine","conid"')
TAKEN = b'[{"order_id":"77","order_status":"Submitted"}]'
QUESTION = b'[{"id":"r1","message":["sure?"],"messageIds":["o163"]}]'


def answer(body: bytes, status: int = 200) -> Response:
    """A JSON response of IBKR."""
    return Response(status, {"Content-Type": "application/json"}, body)


class IbkrRoad:
    """Sends calls in place of IBKR: it writes the entry, counts the first byte as sent and returns planned responses.

    Args:
        plan: the responses in order; the last one is repeated. An exception is raised after the first byte.
    """

    def __init__(self, *plan: Response | BaseException) -> None:
        self.plan = list(plan or (answer(TAKEN),))
        self.calls: list[Call] = []
        self.stops: BaseException | None = None
        """If set, it is raised before the entry is written."""
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.is_inside = asyncio.Event()
        self.late: OnLateResponse = lambda _: None

    async def __call__(
        self,
        call: Call,
        facts: RequestFacts,
        before_first_byte: FirstByteHook,
        is_connected: Callable[[], bool],
        on_late_response: OnLateResponse,
    ) -> Response:
        """See `SendOrderCall`."""
        if self.stops is not None:
            raise self.stops
        await before_first_byte.write_entry()
        before_first_byte.has_left = True
        self.calls.append(call)
        self.late = on_late_response
        self.is_inside.set()
        await self.may_answer.wait()
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
        self.clock = ManualClock()
        bus = Bus()
        self.repository = OrderRepository(
            JournalWriter(JournalStore(path, bus, self.clock.utc), bus), bus, self.clock.utc
        )
        self.waits_for: BridgeError | None = None
        self.submitter = OrderSubmitter(self.repository, self.clock, self._wait, add_coids=add_coids)
        self.road = IbkrRoad()

    async def _wait(self, _: OrderRequest) -> None:
        if self.waits_for is not None:
            raise self.waits_for

    def request(
        self,
        body: bytes = TICKET,
        operation: OrderOperation = OrderOperation.PLACE,
        *,
        method: str = "POST",
        path: str = ORDERS,
        owner: str = "one",
        **more: object,
    ) -> OrderRequest:
        """The request of a caller; `more` sets further attributes."""
        request = OrderRequest(
            context_for(method, path, body, key_label=owner, max_wait_s=5.0),
            operation,
            owner,
            "req",
            account="DU1",
            path_id=path.rpartition("/")[2],
            send=self.road,
        )
        for name, value in more.items():
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

    async def story(self, record: OrderRecord) -> list[str]:
        """The events of an order in the journal."""
        rows = await self.repository.journal.read_all()
        return [entry.what.value for _, entry, _ in rows if entry.order_id == record.id]

    @property
    def records(self) -> list[OrderRecord]:
        """All orders, the earliest first."""
        return list(self.repository.index.newest_first())[::-1]
