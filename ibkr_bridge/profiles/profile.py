"""One IBKR username and all its parts: the way to IBKR, session, limits, cache, orders and streams."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from ibkr_bridge.cache.cached_reads import CachedReads
from ibkr_bridge.calls.context import CallContext
from ibkr_bridge.calls.messages import Response
from ibkr_bridge.calls.upstream_port import Upstream, UpstreamState
from ibkr_bridge.conditions.condition import Condition
from ibkr_bridge.config.settings import Settings
from ibkr_bridge.errors import JournalUnavailable
from ibkr_bridge.ibkr.endpoint import OrderOperation
from ibkr_bridge.limits.address_ceiling import AddressCeiling
from ibkr_bridge.limits.admission import AdmissionController
from ibkr_bridge.limits.penalty_box import PenaltyBox
from ibkr_bridge.limits.persistent_windows import PersistentWindows
from ibkr_bridge.orders.rules.trading_pause import TradingPause
from ibkr_bridge.orders.service import OrderService
from ibkr_bridge.orders.suppressed_questions import SuppressedQuestions
from ibkr_bridge.profiles.pipeline import Pipeline
from ibkr_bridge.profiles.status import FlagsStatus, ProfileStatus, account_statuses
from ibkr_bridge.quirks.completion import CompleteReads
from ibkr_bridge.session.gate import SessionGate
from ibkr_bridge.session.keeper import Keeper
from ibkr_bridge.session.losses import SessionLosses
from ibkr_bridge.session.selected_account import SelectedAccount
from ibkr_bridge.session.state_machine import Session
from ibkr_bridge.streaming.service import StreamService
from ibkr_bridge.supervision import Loop


@dataclass(frozen=True)
class Profile:
    """The parts of one profile, as `profiles/factory.py` builds them."""

    name: str
    settings: Settings
    address: str
    """Where its road leads, for people."""
    upstream: Upstream
    upstream_state: UpstreamState
    keeper: Keeper
    session_gate: SessionGate
    session_losses: SessionLosses
    admission: AdmissionController
    penalty_box: PenaltyBox
    persistent_windows: PersistentWindows
    trading_pause: TradingPause
    completion: CompleteReads
    cached_reads: CachedReads
    orders: OrderService
    suppressed_questions: SuppressedQuestions
    selected_account: SelectedAccount
    streaming: StreamService
    pipeline: Pipeline
    ceiling: AddressCeiling

    async def execute(self, context: CallContext) -> Response:
        """Take a call that is not about one order through all stages.

        Raises:
            BridgeError: nothing was sent, or nothing usable came back; the class says which.
            CallerGone: nothing was sent, and no caller is left.
        """
        if context.endpoint.operation is OrderOperation.PREVIEW:
            return await self.orders.preview(context)
        return await self.pipeline(context)

    async def load(self) -> None:
        """Read what an earlier run saved in the state directory."""
        self.upstream_state.load()
        self.trading_pause.load()
        self.penalty_box.load()
        self.persistent_windows.load(self.admission)
        self.suppressed_questions.load()
        self.selected_account.load()
        with suppress(JournalUnavailable):  # published; every order tries again
            await self.orders.load()

    def loops(self) -> tuple[Loop, ...]:
        """The loops that must run as long as the profile serves."""
        return (
            self.keeper.run_loop,
            self.admission.run_loop,
            self.upstream_state.run_loop,
            self.orders.run_loop,
            self.orders.reconciler.run_loop,
            self.streaming.feed.run_loop,
            self.streaming.housekeeping_loop,
            self.streaming.return_probe.run_loop,
            self.streaming.second_source.run_loop,
        )

    def status(
        self,
        *,
        is_draining: bool,
        session: Session | None = None,
        unapplied: tuple[str, ...] = (),
        conditions: tuple[Condition, ...] = (),
    ) -> ProfileStatus:
        """Join the status of all parts.

        Args:
            is_draining: whether the process accepts no new calls; the profile does not know it.
            session: the result of `Keeper.current`; None means the state of the keeper's last check.
            unapplied: the settings that a restart would change.
            conditions: of the bridge and of this profile.
        """
        admission = self.admission.status(self.upstream.abandoned)
        return ProfileStatus(
            session=self.keeper.status(session),
            conditions=conditions,
            flags=self._flags(unapplied, is_draining=is_draining),
            accounts=account_statuses(self.keeper.accounts),
            slots=admission.slots,
            waiting=admission.waiting,
            budget=admission.budget,
            penalty=self.penalty_box.status(),
            cache=self.cached_reads.status(),
            journal=self.orders.status(),
            stream=self.streaming.status(),
        )

    def _flags(self, unapplied: tuple[str, ...], *, is_draining: bool) -> FlagsStatus:
        return FlagsStatus(
            mode=self.settings.trading_mode.value,
            read_only=self.settings.read_only,
            paused=self.trading_pause.status(),
            maintenance_until=self.keeper.maintenance_end,
            draining=is_draining,
            gateway=self.address,
            restart_needed=unapplied,
        )

    async def close(self) -> None:
        """Save what is kept over a restart, and release the connections and the journal."""
        self.ceiling.leave(self.name)
        await self.cached_reads.close()
        self.upstream_state.save()
        await self.upstream.close()
        await self.orders.repository.close()
