"""The routes about profiles, as rows of the table of routes."""

from __future__ import annotations

from functools import partial

from ibkr_bridge.api import connections, profiles
from ibkr_bridge.api.history import Days
from ibkr_bridge.api.route import Parameter, Route, keyed_route
from ibkr_bridge.errors import (
    BadRequest,
    GatewayProtocolError,
    GatewayTimeout,
    GatewayUnreachable,
    OrderInProgress,
    PayloadTooLarge,
    ProfileExists,
    ProfileNotFound,
    RateLimited,
    RequestTokenUnknown,
    SessionUnavailable,
    UpstreamRefused,
    ValidationFailed,
)
from ibkr_bridge.ibkr.endpoint import Effect
from ibkr_bridge.models.connections import (
    Connection,
    ConsumerMembers,
    NewConnection,
    ReturnedVerifier,
    StoredConsumer,
)
from ibkr_bridge.models.history import BridgeHistory
from ibkr_bridge.models.profiles import (
    CheckedCredential,
    CredentialMembers,
    ForgottenProfile,
    ImportedCredential,
    MadeProfile,
    MadeProfileKey,
    NewProfile,
    NewProfileKey,
    ProfileList,
    ProfileSummary,
)
from ibkr_bridge.profiles.status import ProfileStatus

BODY_ERRORS = (BadRequest, PayloadTooLarge, ValidationFailed)
IBKR_ERRORS = (UpstreamRefused, GatewayUnreachable, GatewayTimeout, GatewayProtocolError)
_route = partial(keyed_route, of_bridge=True)

PROFILE_ROUTES: tuple[Route, ...] = (
    _route(
        "GET", "/profiles", Effect.READ, profiles.listing, "The profiles that the key reaches.", response=ProfileList
    ),
    _route(
        *("POST", "/profiles", Effect.MANAGE, profiles.create, "Makes a profile and its first key."),
        (*BODY_ERRORS, ProfileExists),
        request=NewProfile,
        response=MadeProfile,
    ),
    _route(
        *("DELETE", "/profiles/{name}", Effect.MANAGE, profiles.forget),
        "Removes a profile, its credential and its keys; the journal of its orders stays.",
        (BadRequest, ProfileNotFound),
        response=ForgottenProfile,
    ),
    _route(
        *("POST", "/profiles/{name}/keys", Effect.MANAGE, profiles.add_key, "Makes a further key of a profile."),
        (*BODY_ERRORS, ProfileNotFound),
        request=NewProfileKey,
        response=MadeProfileKey,
    ),
    _route(
        *("POST", "/profiles/{name}/credential", Effect.MANAGE, profiles.import_credential),
        "Stores a credential, sealed, and signs in with it.",
        (*BODY_ERRORS, ProfileNotFound),
        request=CredentialMembers,
        response=ImportedCredential,
    ),
    _route(
        *("POST", "/profiles/{name}/check", Effect.MANAGE, profiles.check),
        "Checks the credential of a profile at IBKR, without a brokerage session.",
        (BadRequest, ProfileNotFound, RateLimited),
        response=CheckedCredential,
    ),
    _route(
        *("GET", "/profiles/{name}/status", Effect.MANAGE, profiles.status),
        "Everything the bridge knows of a profile, without its key.",
        (ProfileNotFound,),
        response=ProfileStatus,
    ),
    _route(
        *("GET", "/profiles/{name}/history", Effect.MANAGE, profiles.history),
        "What has happened to a profile in the last 90 days, without its key.",
        (BadRequest, ProfileNotFound),
        parameters=(Parameter("days", "How many days, 7 if it is left out.", Days, example="1"),),
        response=BridgeHistory,
    ),
    _route(
        *("POST", "/profiles/{name}/connection", Effect.MANAGE, connections.begin),
        "Begins to connect a user to IBKR: makes keys for the self-service, or gets a request token for a company.",
        (*BODY_ERRORS, ProfileNotFound, RateLimited, *IBKR_ERRORS),
        request=NewConnection,
        response=Connection,
    ),
    _route(
        *("GET", "/profiles/{name}/connection", Effect.MANAGE, connections.show),
        "Says how far the connection of a profile to IBKR is, and what its user should do.",
        (ProfileNotFound,),
        response=Connection,
    ),
    _route(
        *("POST", "/profiles/{name}/connection/verifier", Effect.MANAGE, connections.verify),
        "Ends a connection of a company's user with what IBKR's page sent to the app's callback.",
        (*BODY_ERRORS, ProfileNotFound, RequestTokenUnknown, *IBKR_ERRORS),
        request=ReturnedVerifier,
        response=Connection,
    ),
    _route(
        *("DELETE", "/profiles/{name}/connection", Effect.MANAGE, connections.end),
        "Signs a profile out and removes its credential; the profile, its keys and its journal stay.",
        (BadRequest, ProfileNotFound, OrderInProgress),
        response=Connection,
    ),
    _route(
        *("PUT", "/consumer", Effect.MANAGE, connections.save_consumer),
        "Stores the keys of a company, sealed, with which its users connect.",
        BODY_ERRORS,
        request=ConsumerMembers,
        response=StoredConsumer,
    ),
    _route(
        *("DELETE", "/consumer", Effect.MANAGE, connections.forget_consumer),
        "Removes the keys of a company; users who are connected stay so.",
        (BadRequest,),
        response=StoredConsumer,
    ),
    _route(
        *("POST", "/profiles/{name}/pause", Effect.MANAGE, profiles.pause, "Stops new orders of a profile."),
        (ProfileNotFound,),
        response=ProfileSummary,
    ),
    _route(
        *("POST", "/profiles/{name}/resume", Effect.MANAGE, profiles.resume, "Allows new orders of a profile again."),
        (ProfileNotFound,),
        response=ProfileSummary,
    ),
    _route(
        *("POST", "/profiles/{name}/logout", Effect.MANAGE, profiles.logout, "Ends the login of a profile at IBKR."),
        (ProfileNotFound, SessionUnavailable, GatewayProtocolError),
        response=ProfileSummary,
    ),
)
