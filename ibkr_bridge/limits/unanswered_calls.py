"""The calls inside the Gateway, and which of them will probably never be answered. Pure: the time is passed in.

If IBKR refuses or resets a connection, the Gateway frees the slot of that call at once and never answers. If IBKR is
silent, or one of its services hangs, the call holds its slot. The bridge cannot see which of the two has happened. It
sees that a later call is answered promptly: then the Gateway had a free slot.

An endpoint that hangs must not take the slots of all others. So its unanswered calls go on counting against the
endpoint itself, until it answers a later call.
"""

from __future__ import annotations

from ibkr_bridge.limits.queued_call import QueuedCall

PROMPT_S = 2.0
"""Seconds within which an answer shows that the Gateway had a free slot for the call. A healthy one takes 0.1 s."""


MAX_UNANSWERED_CANCELS = 6
"""Cancels that are sent to a silent Gateway beyond the limits. All that wait there leave at once when IBKR is back. If
they were more than IBKR's ten in a second, its penalty box would refuse everything for a quarter of an hour.
"""


OVERTAKEN_BY_S = 0.05  # two answers that come closer together may have been read in another order than they were sent


class UnansweredCalls:
    """The calls inside one Gateway.

    Args:
        max_of_endpoint: unanswered reads of one endpoint beside which a single one more is tried.
    """

    def __init__(self, max_of_endpoint: int) -> None:
        self._max_of_endpoint = max_of_endpoint
        self._inside: dict[QueuedCall, None] = {}  # in the order of their admission
        self._ghosts: list[QueuedCall] = []
        self._answered_sent_at = float("-inf")
        self._two_slots_free_at = float("-inf")
        self.is_answering = True
        """Whether nothing shows that the Gateway is silent."""

    def __repr__(self) -> str:
        return f"<UnansweredCalls {len(self._inside)} inside, {len(self._ghosts)} of them ghost calls>"

    def add(self, queued_call: QueuedCall) -> None:
        """A call was admitted."""
        self._inside[queued_call] = None

    def remove(self, queued_call: QueuedCall) -> None:
        """The Gateway no longer works on a call."""
        self._inside.pop(queued_call, None)
        if queued_call.is_given_up:
            self._ghosts.remove(queued_call)

    def on_given_up(self, queued_call: QueuedCall) -> None:
        """A call passed its deadline."""
        queued_call.is_given_up = True
        self._ghosts.append(queued_call)

    def on_prompt_answer(self, sent_at: float, now: float) -> list[QueuedCall]:
        """A call was answered promptly. Returns the unanswered calls that were sent before it."""
        self.is_answering = True
        self._answered_sent_at = max(self._answered_sent_at, sent_at)
        for each in self._inside:
            if each.sent_at is not None and each.sent_at < sent_at and each.overtaken is None:
                each.overtaken = (sent_at, now)
        return [each for each in self.unanswered(now) if each.sent_at is not None and each.sent_at < sent_at]

    def on_answer(self, answered: QueuedCall, now: float) -> None:
        """A call was answered, however late: its endpoint works. If a later call had been answered before it, the
        Gateway, whose queue is first in, first out, worked on both at once: two slots were free.
        """
        if answered.overtaken is not None and now - answered.overtaken[1] >= OVERTAKEN_BY_S:
            self._two_slots_free_at = max(self._two_slots_free_at, answered.overtaken[0])
        for each in self.unanswered(now):
            if each.endpoint.path == answered.endpoint.path and each.admitted_at <= answered.admitted_at:
                each.is_cleared = True

    def unanswered(self, now: float) -> list[QueuedCall]:
        """The ghost calls, and the calls that have waited for seconds although a later one was answered promptly."""
        late = []
        for each in self._inside:
            if now - each.admitted_at < PROMPT_S:
                break
            is_overtaken = each.sent_at is not None and each.sent_at < self._answered_sent_at
            if is_overtaken and not each.endpoint.is_slow and not each.is_given_up:
                late.append(each)
        return [*self._ghosts, *late]

    @property
    def may_be_urgent(self) -> bool:
        """Whether the Gateway is silent, and few cancels wait in it."""
        cancels = sum(not each.needs_slot for each in self._inside)
        return not self.is_answering and cancels < MAX_UNANSWERED_CANCELS

    def is_overtaken(self, sent_at: float, now: float) -> bool:
        """Whether a call that was sent then has waited for seconds although a later one was answered promptly."""
        return now - sent_at >= PROMPT_S and sent_at < self._answered_sent_at

    def next_late_at(self, now: float) -> float | None:
        """When a call inside will have waited so long that it may count as unanswered."""
        return next((at for each in self._inside if (at := each.admitted_at + PROMPT_S) > now), None)

    def may_enter(self, queued_call: QueuedCall, now: float) -> bool:
        """Whether one more read of its endpoint may go in: always, unless something shows that the endpoint hangs."""
        path = queued_call.endpoint.path
        unanswered = self.unanswered(now)
        if not any(each.endpoint.path == path and not each.is_cleared for each in unanswered):
            return True
        inside = [each for each in self._inside if each.endpoint.path == path and not each.is_cleared]
        if len(inside) < self._max_of_endpoint:
            return True
        # A single try may take the fourth slot. Another one must not take the fifth, so two have to be free.
        latest = max(each.admitted_at for each in inside)
        has_slot = len(inside) == self._max_of_endpoint or self._two_slots_free_at > latest
        return self.is_answering and has_slot and set(inside) <= set(unanswered)
