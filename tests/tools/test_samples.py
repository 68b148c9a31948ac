"""The samples on the page for callers."""

from __future__ import annotations

import re

import pytest

from ibkr_bridge.api.routes import own_routes
from tests.api.openapi.test_examples import ANSWERED
from tests.harness import Harness
from tools.marked_section import API_PAGE, read_section
from tools.samples import SECTION, section

PAGE = API_PAGE.read_text("utf-8")
NAMED = sorted(set(re.findall(r"`(?:GET|POST|PUT|DELETE) (/[^`\s]*)`", PAGE)))


def test_the_page_has_the_samples() -> None:
    """`python -m tools.samples` writes them."""
    assert read_section(PAGE, SECTION) == section()


def test_every_answer_has_a_sample() -> None:
    """A reader sees what each route answers."""
    assert section().count("\n```json\n") + section().count("\n```text\n") == len(ANSWERED)


@pytest.mark.parametrize("target", NAMED)
async def test_no_route_on_the_page_is_missing(harness: Harness, target: str) -> None:
    """A reader who copies it must not get 404 for a path that the bridge does not have."""
    path = target.partition("?")[0]

    if own_routes().match(tuple(path[1:].split("/"))) is None:
        assert (await harness.request("HEAD", target)).code != "not_bridged"
