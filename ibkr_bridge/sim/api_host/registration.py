"""One username at the simulated host: what the user brings, and the market that answers this user."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from ibkr_bridge.sim.api_host.keys import UserKeys
from ibkr_bridge.sim.api_host.registry import AccessToken, UploadedKeys
from ibkr_bridge.sim.faults import Fault
from ibkr_bridge.sim.market.availability import CODES
from ibkr_bridge.sim.market.world import World
from ibkr_bridge.sim.market_stage import MarketStage
from ibkr_bridge.sim.request_log import LoggedRequest

REALM = "limited_poa"
TEST_CONSUMER, TEST_REALM = "TESTCONS", "test_realm"


class UserMarket(MarketStage):
    """The market of one username, reached through the port of the host; `start` and `stop` concern only its tasks."""

    host_port: Callable[[], int] = staticmethod(lambda: 0)

    @property
    def port(self) -> int:
        """See `MarketStage.port`."""
        return self.host_port()

    def gateway_calls(self, part: str = "") -> list[LoggedRequest]:
        """The calls of this user's programs. There is no Gateway that a call could fail to pass."""
        return self.calls(part)

    async def start(self) -> None:
        """Nothing: the host listens."""

    async def stop(self) -> None:
        """End what runs for this user."""
        await self.market.stop()
        await self._tasks.stop()

    async def restart(self) -> None:
        """Nothing: there is no Gateway."""

    def cause(self, fault: Fault) -> None:
        """Let an event happen that was meant for somebody else as well, if it is one of IBKR's and not a Gateway's."""
        if fault.kind in CODES or fault.kind in self._event_actions:
            self._trigger_event(fault)

    def undo(self, fault: Fault) -> None:
        """Undo such an event."""
        self._undo_event(fault)


@dataclass(frozen=True)
class Registration:
    """What a user brings to a program, all of it in the form that IBKR's page and `openssl` give."""

    username: str
    consumer_key: str
    access_token: str
    access_token_secret: str = field(repr=False)
    """Encrypted to the encryption key, in base64."""
    keys: UserKeys | None = field(repr=False)
    """None if the keys were made elsewhere, so that the simulator has the public halves only."""
    token: AccessToken = field(repr=False)
    market: UserMarket = field(repr=False)
    """The market of this user, with its log, its faults and its controls."""

    @property
    def world(self) -> World:
        """All that IBKR knows about this user."""
        return self.market.market.world

    @property
    def realm(self) -> str:
        """The realm that belongs to the consumer key."""
        return TEST_REALM if self.consumer_key == TEST_CONSUMER else REALM

    @property
    def signature_key_pem(self) -> str:
        """The private key that signs handshakes."""
        return self._own_keys().signature_key_pem

    @property
    def encryption_key_pem(self) -> str:
        """The private key that opens the secret."""
        return self._own_keys().encryption_key_pem

    @property
    def dhparam_pem(self) -> str:
        """The parameters of the key exchange."""
        return self._own_keys().dhparam_pem

    def activate_at(self, moment: float) -> None:
        """Let IBKR's servers have this consumer only from a moment of the clock on."""
        self.token.consumer.active_from = moment

    def set_enabled(self, *, is_enabled: bool) -> None:
        """Turn the switch "Enable OAuth Access" on IBKR's page."""
        self.token.consumer.is_enabled = is_enabled

    def revoke(self) -> None:
        """Let the user delete the access token."""
        self.token.is_revoked = True

    def lose_secret(self) -> None:
        """Let IBKR lose the access token's secret."""
        self.token.secret = None

    def regenerate(self) -> Registration:
        """Make another secret, as the user does on IBKR's page; the old registration fits no more."""
        self.token.renew_secret()
        return replace(self, access_token_secret=self.token.encrypted_secret())

    def change_keys(self, keys: UserKeys, at: float) -> Registration:
        """Upload other keys, which count from a moment of the clock on; the secret is encrypted to the new one."""
        consumer = self.token.consumer
        consumer.next_keys_from = at
        consumer.next_keys = UploadedKeys.read(keys.signature_public_pem, keys.encryption_public_pem, keys.dhparam_pem)
        return replace(self, keys=keys, access_token_secret=self.token.encrypted_secret())

    def _own_keys(self) -> UserKeys:
        if self.keys is None:
            raise ValueError("these keys were made elsewhere; only their public halves are here")
        return self.keys
