"""The second user of a demo: a simulated api.ibkr.com beside the Gateway, a vault, and the keys of an app.

Anna has the profile `main` and its Gateway. Ben has a profile without a connection: an app lets him connect, with keys
that he uploads or through a company. Everything is in the state directory of the demo and ends with it.
"""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ibkr_bridge.config.settings import MAIN, Settings
from ibkr_bridge.oauth.handshake_ration import HandshakeRation
from ibkr_bridge.profiles.made_profiles import write_profile
from ibkr_bridge.profiles.options import ProfileOptions
from ibkr_bridge.server.named_keys import KeyScope, NamedKey, add_key, save_named_keys
from ibkr_bridge.server.profile_connections import ProfileConnections
from ibkr_bridge.sim.simulator import Simulator

if TYPE_CHECKING:
    from ibkr_bridge.sim.api_host import ApiHost, UserKeys

BEN, BENS_ACCOUNT = "ben", "DU4242424"
COMPANY = "DEMOCOMPANY"
DEFAULT_CALLBACK = "http://localhost:3000/api/ibkr/connection/callback"
DEFAULT_ACTIVATION_S = 20.0
ASK_AGAIN_S = 5.0  # the bridge asks a real IBKR once an hour
WELCOME = """\
A simulated api.ibkr.com listens at {host}. Two users share the key of an app:
  main  Anna, whose Gateway is signed in
  ben   without a connection: he uploads keys at {host}/self-service, as the user ben,
        or agrees to the company of the app
The keys of the app are new at each start: --write-env FILE writes them.

"""


@dataclass(frozen=True)
class DemoUsers:
    """What a demo with two users needs.

    Args:
        settings: of the bridge, with a vault.
        host: the simulated api.ibkr.com.
        company: the keys with which users connect through the app.
        app_settings: the keys of the app, as its environment has them.
    """

    settings: Settings
    host: ApiHost
    company: UserKeys
    app_settings: dict[str, str]

    @property
    def options(self) -> ProfileOptions:
        """The options of each profile: a demo does not last for a night."""
        return ProfileOptions(handshake_ration=lambda: HandshakeRation(ASK_AGAIN_S))

    @property
    def welcome(self) -> str:
        """What to try."""
        return WELCOME.format(host=self.host.url)

    async def add_company(self, connections: ProfileConnections) -> None:
        """Let the bridge have the keys of the company."""
        members = {
            "consumer_key": COMPANY,
            "signature_key": self.company.signature_key_pem,
            "encryption_key": self.company.encryption_key_pem,
            "dh_parameters": self.company.dhparam_pem,
            "realm": "",
        }
        await connections.save_consumer(members)


@asynccontextmanager
async def open_users(simulator: Simulator, settings: Settings, args: argparse.Namespace) -> AsyncIterator[DemoUsers]:
    """Start the simulated api.ibkr.com, and prepare the state directory for two users.

    Args:
        simulator: the Gateway of the first user; both have the same time and the same faults.
        settings: of the bridge, with a state directory of its own.
        args: the command line.
    """
    from ibkr_bridge.sim.api_host import ApiHost, usual_keys  # load cryptography
    from ibkr_bridge.vault.key_file import new_key_line

    state = settings.state_dir or Path()
    host = ApiHost(clock=simulator.clock, port=args.api_port, positions=3, seed=2)
    host.follow(simulator.faults)
    host.rules.activation_s = args.activation_seconds
    host.add_user(BEN, accounts=(BENS_ACCOUNT,))
    host.register_company(COMPANY, args.callback)
    vault_keys = state / "vault-keys"
    vault_keys.write_text(new_key_line())
    vault_keys.chmod(0o400)
    async with host:
        write_profile(state / "profiles", BEN, {"road": "oauth", "api_url": host.url, "maintenance": "none"})
        yield DemoUsers(replace(settings, vault_keys=vault_keys), host, usual_keys(), _make_keys(state))


def _make_keys(state: Path) -> dict[str, str]:
    """Make the key of the app, which reaches both users, and the one that manages profiles."""
    now, keys = datetime.now(UTC), tuple[NamedKey, ...]()
    keys, app = add_key(keys, "app", KeyScope.TRADE, now, (MAIN, BEN), app=True)
    keys, admin = add_key(keys, "admin", KeyScope.MANAGE, now)
    save_named_keys(state, keys)
    return {"IBKR_BRIDGE_KEY": app, "IBKR_BRIDGE_ADMIN_KEY": admin}
