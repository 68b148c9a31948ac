"""Profiles: which there are, what state each is in, and how one is made."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from ibkr_bridge.models.base import Model, RequestModel, UtcTime

ProfileName = Annotated[
    str,
    Meta(
        pattern=r"^[a-z][a-z0-9-]{0,31}$",
        description="At most 32 small letters, digits and hyphens; a letter first.",
        examples=["anna"],
    ),
]
ProfileSetting = str | int | float | bool | list[str]


class ProfileSummary(Model, frozen=True):
    """One profile: an IBKR username with the road to it."""

    name: Annotated[str, Meta(description="Its name, for the header X-Bridge-Profile.")]
    road: Annotated[str, Meta(description="`gateway` or `oauth`: how the bridge reaches IBKR for it.")]
    mode: Annotated[str, Meta(description="`paper` or `live`.")]
    user: Annotated[str, Meta(description="Whose profile it is, in the words of the app; empty if nobody said.")]
    state: Annotated[str, Meta(description="State of the session; `ready` lets brokerage calls through.")]
    ready: Annotated[bool, Meta(description="Whether the brokerage session is open.")]
    reason: Annotated[str, Meta(description="Why the session is in this state, as a code.")]
    hint: Annotated[str, Meta(description="What a person should do now.")]
    since: UtcTime
    next: Annotated[str, Meta(description="What the bridge does next by itself, and when.")]
    paused: Annotated[bool, Meta(description="Whether somebody stopped new orders.")]


class RefusedProfile(Model, frozen=True):
    """A profile of a file that cannot be used."""

    name: str
    problems: Annotated[str, Meta(description="What to correct.")]


class ProfileList(Model, frozen=True):
    """The profiles that a key reaches, `main` first."""

    profiles: list[ProfileSummary]
    refused: Annotated[
        list[RefusedProfile] | None,
        Meta(description="Profiles of files with wrong settings; null for a key that does not manage."),
    ]


class ProfileKeyScope(Enum):
    """What a key of a profile allows."""

    READ = "read"
    TRADE = "trade"


class NewProfile(RequestModel, frozen=True):
    """A profile that is made while the bridge runs."""

    name: ProfileName
    settings: Annotated[
        dict[str, ProfileSetting], Meta(description="Its settings, under the names of a profile file.")
    ] = {}  # noqa: RUF012  # msgspec copies it
    key: Annotated[ProfileKeyScope | None, Meta(description="The scope of its first key; null for none.")] = (
        ProfileKeyScope.TRADE
    )
    app_key: Annotated[
        str | None, Meta(description="The name of an app's key that reaches the profile from now on; null for none.")
    ] = None


class MadeProfile(Model, frozen=True):
    """A profile that was made."""

    profile: ProfileSummary
    key: Annotated[str | None, Meta(description="Its key. It is shown once; the bridge has only its digest.")]


class NewProfileKey(RequestModel, frozen=True):
    """A further key of a profile."""

    scope: ProfileKeyScope = ProfileKeyScope.TRADE


class MadeProfileKey(Model, frozen=True):
    """A key that was made."""

    key: Annotated[str, Meta(description="It is shown once; the bridge has only its digest.")]
    name: Annotated[str, Meta(description="The name of the key in the log.")]
    scope: ProfileKeyScope


class CredentialMembers(RequestModel, frozen=True):
    """A credential, or the part of one that is known. What was imported earlier stays where it is not replaced."""

    kind: Annotated[
        Literal["oauth1a", "oauth1a-third-party", "oauth2"] | UnsetType, Meta(description="`oauth1a` if left out.")
    ] = UNSET
    consumer_key: Annotated[str | UnsetType, Meta(description="Nine letters, as on IBKR's page.")] = UNSET
    access_token: str | UnsetType = UNSET
    access_token_secret: Annotated[str | UnsetType, Meta(description="As IBKR's page shows it.")] = UNSET
    signature_key: Annotated[str | UnsetType, Meta(description="The private key, in PEM.")] = UNSET
    encryption_key: Annotated[str | UnsetType, Meta(description="The private key, in PEM.")] = UNSET
    dh_parameters: Annotated[str | UnsetType, Meta(description="The file that was uploaded, in PEM.")] = UNSET
    realm: str | UnsetType = UNSET
    is_paper: bool | UnsetType = UNSET
    client_id: Annotated[str | UnsetType, Meta(description="Of OAuth 2.0; so are the members after it.")] = UNSET
    key_id: str | UnsetType = UNSET
    private_key: str | UnsetType = UNSET
    username: str | UnsetType = UNSET
    address: str | UnsetType = UNSET


class ImportedCredential(Model, frozen=True):
    """What was stored, sealed."""

    name: Annotated[str, Meta(description="The profile.")]
    kind: Annotated[str, Meta(description="`keys` while the tokens of IBKR's page are missing.")]
    complete: Annotated[bool, Meta(description="Whether the bridge can sign in now.")]
    missing: Annotated[list[str], Meta(description="What has to be imported yet.")]


class CheckedCredential(Model, frozen=True):
    """What is wrong with a credential."""

    name: Annotated[str, Meta(description="The profile.")]
    good: Annotated[bool, Meta(description="Whether IBKR accepts it.")]
    artefact: Annotated[str | None, Meta(description="The part that is wrong; null if nothing shows one.")]
    text: Annotated[str, Meta(description="What was found.")]
    do: Annotated[str, Meta(description="What to do.")]


class ForgottenProfile(Model, frozen=True):
    """A profile that was removed, with its credential and its keys. The journal of its orders stays."""

    name: str
