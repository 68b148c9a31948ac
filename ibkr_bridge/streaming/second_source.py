"""Topics that IBKR does not answer: orders and trades are read by calls instead, the others are reported as stale.

`topic_silence.py` decides. The calls are handed in; they take the way of all reads, so IBKR's limits, the cache and
shared calls apply to them, and a caller that reads the same list costs no second call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NoReturn

from ibkr_bridge import events
from ibkr_bridge.clock import Clock
from ibkr_bridge.streaming.hub import Hub
from ibkr_bridge.streaming.protocol import Args, TopicKind
from ibkr_bridge.streaming.subscription import Subscription

CHECK_INTERVAL_S = 1.0
IDLE_S = 60.0  # between two looks at a hub that nobody uses

Row = dict[str, Any]
ReadRows = Callable[[Args], Awaitable[list[Row] | None]]
"""Reads all rows of a topic; the arguments are those of its request. None if that is not possible now."""


class SecondSource:
    """Watches the topics of one profile.

    Args:
        hub: has the topics, and notifies their subscribers.
        reads: reads the rows of a kind.
    """

    def __init__(self, hub: Hub, reads: Mapping[TopicKind, ReadRows], clock: Clock, bus: events.Bus) -> None:
        self._hub = hub
        self._reads = reads
        self._clock = clock
        self._bus = bus

    def report_silence(self) -> None:
        """Tell the log about each topic that IBKR has not answered in time, and subscribers if it is stale. Request it
        again at times.
        """
        topics = self._hub.upstream_subscriptions
        for subscription in topics.overdue():
            topics.repeat_request(subscription)
            silence, has_reads = subscription.silence, subscription.topic.kind in self._reads
            if not silence.is_reported:
                silence.is_reported = True
                self._bus.publish(events.TopicSilent(subscription.topic.kind.value, has_reads))
            if silence.stale_since is None and silence.is_stale(self._clock.now(), has_second_source=has_reads):
                self._hub.mark_topic_stale(subscription)

    async def run_loop(self) -> NoReturn:
        """Read what IBKR does not send, until cancelled."""
        while True:
            if not self._hub.in_use.is_set():
                await self._clock.wait(self._hub.in_use, IDLE_S)
            await self._clock.wait(asyncio.Event(), CHECK_INTERVAL_S)
            for subscription in self._hub.upstream_subscriptions.overdue():
                if subscription.subscribers and subscription.silence.is_read_due(self._clock.now()):
                    await self._read(subscription)

    async def _read(self, subscription: Subscription) -> None:
        """Read the rows of one topic, if its kind has a second source, and send what is new."""
        read_rows, silence = self._reads.get(subscription.topic.kind), subscription.silence
        if read_rows is None:
            return
        silence.read_started_at = self._clock.now()
        rows = await read_rows(subscription.requested_args or {})
        silence.on_read(self._clock.now(), has_answer=rows is not None)
        if rows is not None and subscription.silence is silence and silence.requested_at is not None:
            self._hub.on_rows_read(subscription, rows)  # else IBKR has answered meanwhile, or its websocket is another
        self.report_silence()
