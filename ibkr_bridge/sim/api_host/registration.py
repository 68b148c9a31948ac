"""One username at the simulated host: what the user brings, and the market that answers this user."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ibkr_bridge.sim.api_host.keys import UserKeys
from ibkr_bridge.sim.api_host.registry import AccessToken
from ibkr_bridge.sim.market.world import World
from ibkr_bridge.sim.market_stage import MarketStage

REALM = "limited_poa"
TEST_CONSUMER, TEST_REALM = "TESTCONS", "test_realm"


class UserMarket(MarketStage):
    """The market of one username, reached through the port of the host; `start` and `stop` concern only its tasks."""

    host_port: Callable[[], int] = staticmethod(lambda: 0)

    @property
    def port(self) -> int:
        """See `MarketStage.port`."""
        return self.host_port()

    async def start(self) -> None:
        """Nothing: the host listens."""

    async def stop(self) -> None:
        """End what runs for this user."""
        await self.market.stop()
        await self._tasks.stop()

    async def restart(self) -> None:
        """End every login of this user, as far as IBKR's servers know; there is no Gateway to restart."""
        self.log_out()


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

    def _own_keys(self) -> UserKeys:
        if self.keys is None:
            raise ValueError("these keys were made elsewhere; only their public halves are here")
        return self.keys
