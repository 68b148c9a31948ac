"""Our life as systemd follows it: ready, how the session is, alive, reloading, stopping."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NoReturn

from ibkr_bridge.events import Fact, SessionChanged
from ibkr_bridge.observe.systemd import ALIVE, READY, STOPPING, Systemd, watchdog_pause
from ibkr_bridge.session.keeper import Keeper
from ibkr_bridge.session.state_machine import State
from ibkr_bridge.supervision import Pulse

NOBODY_WATCHES = 3600.0  # seconds


class Service:
    """One bridge in systemd's eyes.

    Args:
        env: where systemd says what it wants.
        keeper: how the session is.
        pulse: whether the loops go round.
    """

    def __init__(self, env: Mapping[str, str], keeper: Keeper, pulse: Pulse) -> None:
        self._systemd = Systemd(env)
        self._pause = watchdog_pause(env)
        self._keeper = keeper
        self._pulse = pulse

    def ready(self) -> None:
        """We serve."""
        self._systemd.tell(READY, self._in_words())

    def hear(self, fact: Fact) -> None:
        """What the session does, `systemctl status` shows."""
        if isinstance(fact, SessionChanged):
            self._systemd.tell(self._in_words())

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """While settings are read again; `systemctl reload` waits for its end, if it heard of the beginning in time."""
        self._systemd.tell_reloading()
        try:
            yield
        finally:
            self.ready()

    def stopping(self) -> None:
        """We end."""
        self._systemd.tell(STOPPING)

    async def feed(self) -> NoReturn:
        """Show the watchdog that the loops go round, for ever; what is stuck is shown by silence, and in words."""
        was_stuck = False
        while True:
            await asyncio.sleep(self._pause or NOBODY_WATCHES)
            trouble = self._pulse.trouble() or self._keeper.trouble()
            if trouble is None:
                self._systemd.tell(ALIVE, *((self._in_words(),) if was_stuck else ()))
            elif not was_stuck:
                self._systemd.tell(f"STATUS=stuck: {trouble}")
            was_stuck = trouble is not None

    def _in_words(self) -> str:
        state = self._keeper.session.state
        hint = "the brokerage session is open" if state is State.READY else self._keeper.hint()
        return f"STATUS={state.value}: {hint}"
