"""How the user of an app connects to IBKR: what is begun, how far it is, and the keys of a company."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

from msgspec import Meta

from ibkr_bridge.models.base import Model, RequestModel, UtcTime


class ConnectionKind(Enum):
    """How a user gives access."""

    OAUTH1A = "oauth1a"  # self-service: the user uploads keys
    OAUTH1A_THIRD_PARTY = "oauth1a-third-party"  # the user agrees on IBKR's page, for a company that IBKR approved


class ConnectionStep(Enum):
    """How far a user is."""

    NOT_BEGUN = "not_begun"
    MAKING_KEYS = "making_keys"
    UPLOAD = "upload"
    AUTHORIZE = "authorize"
    SIGNING_IN = "signing_in"
    ACTIVATING = "activating"
    REFUSED = "refused"
    CONNECTED = "connected"


class NewConnection(RequestModel, frozen=True):
    """A connection that begins."""

    kind: ConnectionKind
    dh_parameters: Annotated[
        str | None,
        Meta(description="For `oauth1a`: the file of `openssl dhparam -2 2048` in PEM; the bridge makes one if null."),
    ] = None


class Connection(Model, frozen=True):
    """How far the connection of a profile is. Nothing in it is secret."""

    name: Annotated[str, Meta(description="The profile.")]
    step: ConnectionStep
    kind: Annotated[
        str | None,
        Meta(description="`gateway`, `oauth1a`, `oauth1a-third-party` or `oauth2`; null before anything is stored."),
    ]
    kinds: Annotated[list[ConnectionKind], Meta(description="What can be begun here.")]
    message: Annotated[str, Meta(description="What is the case, for the user of an app.")]
    todo: Annotated[str, Meta(description="What the user should do.")]
    page: Annotated[str | None, Meta(description="The page for this step, at IBKR; null if there is none.")]
    files: Annotated[dict[str, str], Meta(description="The public files to upload, by name.")]
    since: Annotated[UtcTime, Meta(description="When this step began, or the session changed.")]
    next_try: Annotated[
        UtcTime | None, Meta(description="When the bridge asks IBKR again, while it activates the keys; else null.")
    ]


class ReturnedVerifier(RequestModel, frozen=True):
    """What the app's callback received from IBKR's page."""

    oauth_token: Annotated[str, Meta(max_length=256)]
    oauth_verifier: Annotated[str, Meta(max_length=256)]


class ConsumerMembers(RequestModel, frozen=True):
    """The keys of a company, as it registered them at IBKR. They serve all its users."""

    consumer_key: str
    signature_key: Annotated[str, Meta(description="The private key, in PEM.")]
    encryption_key: Annotated[str, Meta(description="The private key, in PEM.")]
    dh_parameters: Annotated[str, Meta(description="The file that was registered, in PEM.")]
    realm: Annotated[str, Meta(description="IBKR's realm; the usual one if left out.")] = ""


class StoredConsumer(Model, frozen=True):
    """Whether the bridge has the keys of a company."""

    stored: bool
