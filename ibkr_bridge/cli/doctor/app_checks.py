"""Findings about the variables of an app. Facts in, findings out."""

from __future__ import annotations

from collections.abc import Iterator

from ibkr_bridge.cli.doctor.app_file import KEY_NAME, URL_NAME
from ibkr_bridge.cli.doctor.collect import Facts
from ibkr_bridge.cli.doctor.finding import Finding, Layer


def app_file(facts: Facts) -> Iterator[Finding]:
    """Whether the file can be read, by its app and by nobody else."""
    if facts.app is None:
        return
    if facts.app.error:
        fix = "name the file of the app: --env-file ../app/.env.production"
        yield Finding(Layer.APP, "app file", f"{facts.app.path}: {facts.app.error}", "a file of variables", fix)
    elif facts.app.is_readable_by_others:
        found = f"{facts.app.path} can be read by every user of this machine"
        yield Finding(Layer.APP, "app file", found, "readable by the app alone", f"chmod o-r {facts.app.path}")
    else:
        yield Finding(Layer.APP, "app file", facts.app.path)


def public_keys(facts: Facts) -> Iterator[Finding]:
    """Keys that a build would put into pages."""
    for name in facts.app.public_names if facts.app is not None else ():
        found = f"{name} holds a key, and a build puts it into the pages"
        fix = f"remove it, make a new key (docs/security.md), and read {KEY_NAME} on the app's server alone"
        yield Finding(Layer.APP, "public key", found, "no key in a public variable", fix)


def app_url(facts: Facts) -> Iterator[Finding]:
    """The address that the app calls."""
    if facts.app is None or facts.app.error:
        return
    expected = f"{URL_NAME}={facts.settings.url}"
    if facts.app.url_problem:
        yield Finding(Layer.APP, "app url", facts.app.url_problem, expected, f"write {expected}")
    elif facts.app.url == str(facts.settings.url):
        yield Finding(Layer.APP, "app url", facts.app.url)
    else:
        found = f"another address than these settings have: {facts.app.url}"
        yield Finding(Layer.APP, "app url", found, expected)


def app_key(facts: Facts) -> Iterator[Finding]:
    """Whether the app's key works, and what it may do."""
    app, expected = facts.app, "a key that the bridge accepts"
    if app is None or app.error:
        return
    if app.key_problem:
        yield Finding(Layer.APP, "app key", app.key_problem, expected, f"write {KEY_NAME}= with the bridge's key")
    elif app.key_error[0]:
        yield Finding(Layer.APP, "app key", *_refused(app.key_error, expected))
    elif not app.is_tried:
        yield Finding(Layer.APP, "app key", "not tried: the address means something only where the app runs")
    else:
        scope = {True: "it may trade", False: "it may only read", None: "it is none of the keys in these settings"}
        yield Finding(Layer.APP, "app key", f"the bridge accepts it; {scope[app.may_trade]}", expected)


def _refused(error: tuple[str, str], expected: str) -> tuple[str, str, str]:
    text, fix = error
    return text, expected, fix or "see the bridge's log"
