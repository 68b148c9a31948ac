"""A witness that knows nothing of the simulator: ibind signs in to it, unchanged, and trades.

ibind checks the live session token itself. It needs the package pycryptodome, which nothing else here needs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from ibind import IbkrClient, OrderRequest, QuestionType

from ibkr_bridge.sim.api_host import ApiHost, Registration
from ibkr_bridge.sim.api_host.arithmetic import Group
from ibkr_bridge.sim.api_host.keys import read_group

pytest.importorskip("Crypto", reason="ibind's OAuth needs pycryptodome")

from ibind.oauth.oauth1a import OAuth1aConfig

AAPL = 265598
ANSWERS = dict.fromkeys(QuestionType, True)


@pytest.fixture
async def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[ApiHost]:
    """ibind names another host than it calls, so the simulated one is lenient; it insists on a certificate."""
    monkeypatch.setattr("ibind.var.LOGS_DIR", str(tmp_path / "logs"))
    async with ApiHost(tls=True, strict=False, reopen_delay_s=0, establish_delay_s=0) as host:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(host.ca_file))
        yield host


def make_client(host: ApiHost, user: Registration, **changes: Any) -> IbkrClient:
    group = read_group(user.dhparam_pem)
    config = OAuth1aConfig(
        oauth_rest_url=f"{host.url}/v1/api/",
        access_token=user.access_token,
        access_token_secret=user.access_token_secret,
        consumer_key=user.consumer_key,
        dh_prime=f"{group.p:x}",
        dh_generator=str(group.g),
        encryption_key=user.encryption_key_pem,
        signature_key=user.signature_key_pem,
        realm=user.realm,
        init_oauth=True,
        init_brokerage_session=True,
        maintain_oauth=False,
        shutdown_oauth=False,
    )
    for name, value in changes.items():
        setattr(config, name, value)
    account = user.world.accounts[0]
    return IbkrClient(use_oauth=True, oauth_config=config, account_id=account, auto_register_shutdown=False)


@pytest.mark.parametrize("bits", [None, 2048, 2040, 2039])
async def test_ibind_signs_in_and_reads_accounts(host: ApiHost, bits: int | None) -> None:
    user = host.register("anna")
    host.handshake.shared_bits = bits

    def use() -> None:
        client = make_client(host, user)
        accounts = client.portfolio_accounts().data
        assert [row["accountId"] for row in accounts] == list(user.world.accounts)
        assert client.authentication_status().data["authenticated"] is True
        client.close()

    await asyncio.to_thread(use)
    assert host.calls("live_session_token")[0].header("Host") == "api.ibkr.com"


async def test_ibind_places_an_order_and_logs_out(host: ApiHost) -> None:
    user = host.register("anna")
    account = user.world.accounts[0]

    def use() -> None:
        client = make_client(host, user, shutdown_oauth=True)
        assert client.receive_brokerage_accounts().data["accounts"] == list(user.world.accounts)
        order = OrderRequest(
            conid=AAPL, side="BUY", quantity=1, order_type="LMT", price=1.0, acct_id=account, coid="w1", tif="GTC"
        )
        assert client.place_order(order, ANSWERS, account).data["order_id"]
        client.close()

    await asyncio.to_thread(use)
    assert len(user.world.book.orders(host.clock.now())) == 1
    assert host.calls("/logout")
    assert set(host.rules.forms) == {"without the query"}


async def test_ibind_refuses_a_token_from_other_parameters(host: ApiHost) -> None:
    user = host.register("anna")
    host.handshake.other_group = Group(p=2**2048 - 1)

    def use() -> None:
        with pytest.raises(RuntimeError, match="validation failed"):
            make_client(host, user)

    await asyncio.to_thread(use)
