"""The routes with which an app connects its users to IBKR. `profiles.py` has those about the profiles themselves."""

from __future__ import annotations

import msgspec
from aiohttp import web

from ibkr_bridge.api.plain.answers import answer, read_struct
from ibkr_bridge.api.profiles import check_may_manage, managed_profile
from ibkr_bridge.models.connections import (
    Connection,
    ConnectionKind,
    ConnectionStep,
    ConsumerMembers,
    NewConnection,
    ReturnedVerifier,
    StoredConsumer,
)
from ibkr_bridge.profiles.connection_state import ConnectionState
from ibkr_bridge.server.app_keys import CONNECTIONS


async def begin(request: web.Request) -> web.Response:
    """Begin to connect a user."""
    name, wanted = managed_profile(request).name, await read_struct(request, NewConnection)
    connections = request.app[CONNECTIONS]
    if wanted.kind is ConnectionKind.OAUTH1A:
        return _answer(name, await connections.begin_self_service(name, wanted.dh_parameters))
    return _answer(name, await connections.begin_third_party(name))


async def show(request: web.Request) -> web.Response:
    """How far the connection is."""
    name = managed_profile(request).name
    return _answer(name, await request.app[CONNECTIONS].state(name))


async def verify(request: web.Request) -> web.Response:
    """End a connection that the user has agreed to."""
    name, sent = managed_profile(request).name, await read_struct(request, ReturnedVerifier)
    return _answer(name, await request.app[CONNECTIONS].verify(name, sent.oauth_token, sent.oauth_verifier))


async def end(request: web.Request) -> web.Response:
    """Sign out, and remove the credential."""
    name = managed_profile(request).name
    return _answer(name, await request.app[CONNECTIONS].end(name))


async def save_consumer(request: web.Request) -> web.Response:
    """Store the keys of the company."""
    check_may_manage(request)
    sent = await read_struct(request, ConsumerMembers)
    await request.app[CONNECTIONS].save_consumer(msgspec.structs.asdict(sent))
    return answer(StoredConsumer(stored=True))


async def forget_consumer(request: web.Request) -> web.Response:
    """Remove the keys of the company."""
    check_may_manage(request)
    await request.app[CONNECTIONS].forget_consumer()
    return answer(StoredConsumer(stored=False))


def _answer(name: str, state: ConnectionState) -> web.Response:
    return answer(
        Connection(
            name=name,
            step=ConnectionStep(state.step.value),
            kind=state.kind,
            kinds=[ConnectionKind(kind) for kind in state.kinds],
            message=state.advice.message,
            todo=state.advice.todo,
            page=state.page,
            files=dict(state.files),
            since=state.since,
            next_try=state.next_try,
        )
    )
