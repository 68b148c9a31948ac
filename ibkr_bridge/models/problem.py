"""The one form of every error of the bridge (RFC 9457)."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from ibkr_bridge.models.base import Model
from ibkr_bridge.models.session import Action


class Problem(Model, frozen=True, forbid_unknown_fields=False):
    """Why a request failed. Some codes have further members, such as the candidates of `ambiguous_symbol`."""

    type: Annotated[str, Meta(description="The code as a URN.", examples=["urn:ibkr-bridge:problem:busy"])]
    title: Annotated[str, Meta(description="The code in words.")]
    status: Annotated[int, Meta(description="The status of the response.")]
    detail: Annotated[str, Meta(description="What happened, for the developer and the log.")]
    error: Annotated[str, Meta(description="The same as `detail`: clients of IBKR's API read this member.")]
    code: Annotated[str, Meta(description="What happened, for programs. A code never changes its meaning.")]
    hint: Annotated[str, Meta(description="What a developer or an operator can do about it.")]
    request_id: Annotated[str, Meta(description="The id of the request, which the log has too.")]
    retryable: Annotated[bool, Meta(description="Whether the same request may be sent again later, and does no harm.")]
    field: Annotated[str | None, Meta(description="The member or parameter that is to blame; null if it is none.")]
    order_id: Annotated[
        str | None, Meta(description="The order of the call in the journal, for `GET /orders/{id}`; null if none.")
    ]
    user_message: Annotated[str, Meta(description="A sentence that an app may show to its user.")]
    action: Annotated[Action, Meta(description="What the user can do now.")]
