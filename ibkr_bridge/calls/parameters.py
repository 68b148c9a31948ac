"""The parameters of a call: the values in its query and body, read as IBKR reads them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from urllib.parse import unquote_plus

from ibkr_bridge.calls.messages import Call
from ibkr_bridge.errors import BadRequest
from ibkr_bridge.ibkr.bodies import parse_object
from ibkr_bridge.ibkr.endpoint import Endpoint

CONTRACT_ID = re.compile(r"\d{1,12}", re.ASCII)
MAX_CONTRACT_IDS = 100


def list_values(call: Call, name: str) -> list[str]:
    """The values of a list: of a parameter with commas, or of a member of the body."""
    listed = parse_object(call.body).get(name) if call.body else None
    in_body = [str(value) for value in listed] if isinstance(listed, list) else []
    return [*_query_value(call.target, name), *in_body]


def _query_value(target: str, name: str) -> Iterator[str]:
    for part in target.partition("?")[2].split("&"):
        key, _, value = part.partition("=")
        if unquote_plus(key) == name:
            yield from filter(None, unquote_plus(value).split(","))


def contract_ids(values: Iterable[object]) -> list[str]:
    """The values that are contract ids, each once; at most as many as IBKR accepts in one call."""
    return list(dict.fromkeys(filter(CONTRACT_ID.fullmatch, map(str, values))))[:MAX_CONTRACT_IDS]


def order_contract_ids(call: Call) -> list[str]:
    """The contract ids of an order's tickets."""
    listed = call.tickets.top.get("orders", [call.tickets.top])
    tickets = listed if isinstance(listed, list) else []
    return contract_ids(ticket.get("conid") for ticket in tickets if isinstance(ticket, dict))


def check_list_sizes(endpoint: Endpoint, call: Call) -> None:
    """Check the lengths of a call's lists against IBKR's limits.

    Raises:
        BadRequest: a list is longer than IBKR accepts; IBKR would refuse it, or answer in part.
    """
    for name, max_items in endpoint.max_items:
        if (count := len(list_values(call, name))) > max_items:
            raise BadRequest(
                f"{count} {name} are requested at once", hint=f"IBKR accepts {max_items} {name} in one call"
            )
