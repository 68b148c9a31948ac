"""Structs as answers, and bodies and parameters as structs: what is not valid is 422 with the field to blame."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from ibkr_bridge.errors import BadRequest, ValidationFailed
from ibkr_bridge.models.base import Model, encode_shape
from ibkr_bridge.server.request_parsing import read_body

Shape = TypeVar("Shape", bound=Model)
PLACE_OF_FAULT = re.compile(r" - at `\$\.?(.*)`$")
UNKNOWN_FIELD = re.compile(r"unknown field `([A-Za-z0-9_]{1,64})`")
MISSING_FIELD = re.compile(r"missing required field `(\w+)`")
NUMBER = re.compile(r"[0-9]+", re.ASCII)
DECIMAL = re.compile(r"[+-]?([0-9]{1,40}(\.[0-9]{0,40})?|\.[0-9]{1,40})([eE][+-]?[0-9]{1,3})?")
Members = list[tuple[str, Any]]
"""An object of JSON as it is written: a name may be there twice."""


def answer(shape: Model) -> web.Response:
    """A struct as the body of a response."""
    return web.Response(body=encode_shape(shape), content_type="application/json", charset="utf-8")


async def read_struct(request: web.Request, shape: type[Shape]) -> Shape:
    """Read the body of a request as a struct.

    Raises:
        BadRequest: it is not JSON.
        ValidationFailed: it is not of this shape, or two programs could read it differently.
    """
    body = await read_body(request)
    try:
        decoded = msgspec.json.decode(body, type=shape)
    except msgspec.ValidationError as exc:
        raise _fault(str(exc)) from exc
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise BadRequest("the body is not JSON", hint="send a JSON object") from exc
    written: Members = json.loads(body, object_pairs_hook=list, parse_int=str, parse_float=str)
    for problem in _ambiguities(decoded, written):
        raise problem
    return decoded


def _ambiguities(shape: Model, written: Members, path: str = "") -> Iterator[ValidationFailed]:
    """What is written so that another program could read it differently.

    Args:
        shape: what the bridge has read: it has each member that is written, and no other.
        path: of the object that is written, with a dot at its end.
    """
    names = [name for name, _ in written]
    for name, text in written:
        value = getattr(shape, name)
        if names.count(name) > 1:
            yield ValidationFailed(f"{name} is there more than once", field=path + name)
        if isinstance(value, Decimal) and DECIMAL.fullmatch(text) is None:  # Python's has also ١, 1_000 and NaN
            yield ValidationFailed("this is not a decimal", field=path + name, hint='write "190.25"')
        if isinstance(value, Model):
            yield from _ambiguities(value, text, f"{path}{name}.")


def _fault(text: str) -> ValidationFailed:
    """The error for a message of msgspec's, which repeats names of members, and values of enumerations only."""
    place = PLACE_OF_FAULT.search(text)
    path = place[1] if place else ""
    inner = UNKNOWN_FIELD.search(text) or MISSING_FIELD.search(text)
    names = [name for name in (path, inner[1] if inner else "") if name]
    detail = PLACE_OF_FAULT.sub("", text)
    if detail.startswith("Invalid enum value"):
        detail = "the value is not one of those allowed"
    return ValidationFailed(detail[0].lower() + detail[1:], field=".".join(names) or None)


def text_parameter(request: web.Request, name: str) -> str | None:
    """A parameter of the query; None if it is absent or empty.

    Raises:
        BadRequest: it is there twice.
    """
    values = request.query.getall(name, [])
    if len(values) > 1:
        raise BadRequest(f"{name} is there {len(values)} times", field=name)
    return values[0].strip() or None if values else None


def list_parameter(request: web.Request, name: str) -> list[str]:
    """The items of a parameter with a comma-separated list, each once."""
    items = (item.strip() for value in request.query.getall(name, ()) for item in value.split(","))
    return list(dict.fromkeys(filter(None, items)))


def integer_parameter(request: web.Request, name: str, default: int, minimum: int, maximum: int) -> int:
    """A whole number in the query.

    Raises:
        BadRequest: it is not a number between the limits.
    """
    if name not in request.query:
        return default
    text = request.query[name]
    digits = text.lstrip("0")
    if not (NUMBER.fullmatch(text) and len(digits) <= 9 and minimum <= int(digits or "0") <= maximum):
        raise BadRequest(
            f"{name} must be a number from {minimum} to {maximum}",
            field=name,
            hint=f"send a number from {minimum} to {maximum}",
        )
    return int(digits or "0")


def boolean_parameter(request: web.Request, name: str, *, default: bool) -> bool:
    """`true` or `false` in the query.

    Raises:
        BadRequest: it is something else.
    """
    words = {"true": True, "false": False}
    text = text_parameter(request, name)
    if text is None:
        return default
    if text not in words:
        raise BadRequest(f"{name} must be true or false", field=name)
    return words[text]


def enum_parameter(request: web.Request, name: str, kind: type[Any]) -> Any:
    """A word of an enumeration in the query; None if the parameter is absent.

    Raises:
        BadRequest: it is another word.
    """
    text = text_parameter(request, name)
    words = [each.value for each in kind]
    if text is None:
        return None
    if text not in words:
        raise BadRequest(f"{name} must be one word of a list", field=name, hint=f"use one of {', '.join(words)}")
    return kind(text)
