"""Findings about the Gateway's port, and about IBeam beside it. Facts in, findings out."""

from __future__ import annotations

from collections.abc import Iterator

from ibkr_bridge.cli.doctor.collect import Facts
from ibkr_bridge.cli.doctor.finding import Finding, Layer
from ibkr_bridge.cli.doctor.gateway_probe import SHIPPED_FINGERPRINT

START_GATEWAY = "start the Gateway or IBeam, or correct IBKR_GATEWAY_URL"
IBEAM_UP, IBEAM_LOG = 200, "docker logs --tail 50 ibkr-ibeam says why; docs/ibeam.md has the steps"


def gateway(facts: Facts) -> Iterator[Finding]:
    """Whether something that can be the Gateway listens."""
    address = str(facts.settings.gateway_socket or facts.settings.gateway_url)
    answer, expected = facts.gateway, "the Client Portal Gateway, signed in"
    if answer is None or answer.is_timeout:
        fix = "look at its own log: it accepts connections and does not serve them; a restart costs the login"
        yield Finding(Layer.GATEWAY, "gateway", f"{address} does not answer", expected, fix)
    elif answer.is_wrong_tls:
        fix = "correct IBKR_GATEWAY_URL: https or http, host, port"
        yield Finding(Layer.GATEWAY, "gateway", f"{address} answers, but not with TLS", expected, fix)
    elif answer.error:
        yield Finding(Layer.GATEWAY, "gateway", f"{address}: {answer.error}", expected, START_GATEWAY)
    elif not answer.status:
        fix = "correct IBKR_GATEWAY_URL, or look at the Gateway's own log: it may be starting"
        yield Finding(Layer.GATEWAY, "gateway", f"{address} accepts connections and sends no HTTP", expected, fix)
    else:
        yield Finding(Layer.GATEWAY, "gateway", f"{address} answers with {answer.tls}")


def certificate(facts: Facts) -> Iterator[Finding]:
    """Whose certificate it is, as far as anybody can know."""
    answer = facts.gateway
    if answer is None or not answer.fingerprint:
        return
    if answer.certificate_problem:
        fix = "if the Gateway was replaced, set IBKR_GATEWAY_FINGERPRINT anew; if not, something else answers there"
        expected = "the certificate that the settings demand"
        yield Finding(Layer.GATEWAY, "certificate", answer.certificate_problem, expected, fix)
    else:
        is_shipped = answer.fingerprint == SHIPPED_FINGERPRINT
        text = "the one that IBKR ships with the Gateway" if is_shipped else f"SHA-256 {answer.fingerprint[:16]}…"
        yield Finding(Layer.GATEWAY, "certificate", text)


def access(facts: Facts) -> Iterator[Finding]:
    """Whether the Gateway's address rules let this host in."""
    if facts.gateway is not None and facts.gateway.is_denied:
        fix = "add this host's address to ips.allow in the Gateway's conf.yaml and restart it"
        yield Finding(Layer.GATEWAY, "access", "the Gateway answers Access Denied", "access for this host", fix)


def ibeam(facts: Facts) -> Iterator[Finding]:
    """Whether IBeam, if it runs here, counts itself as signed in."""
    if facts.ibeam is None or not facts.ibeam.live:
        return
    ready, expected = facts.ibeam.ready, "200 from its /readyz"
    if facts.ibeam.live != IBEAM_UP:
        yield Finding(Layer.GATEWAY, "ibeam", f"its /livez answers {facts.ibeam.live}", "200", IBEAM_LOG)
    elif ready is None:
        yield Finding(Layer.GATEWAY, "ibeam", "it runs; /readyz was not asked, as it sends a call to IBKR", expected)
    elif ready != IBEAM_UP:
        yield Finding(Layer.LOGIN, "ibeam", f"its /readyz answers {ready or 'nothing'}", expected, IBEAM_LOG)
    else:
        yield Finding(Layer.GATEWAY, "ibeam", "it runs and is signed in")


def addresses(facts: Facts) -> Iterator[Finding]:
    """Whether others can reach the Gateway. Its address rules do not apply to websockets, so a connection is enough."""
    if facts.exposed_addresses:
        found = f"the Gateway's port is open at {', '.join(facts.exposed_addresses)} too"
        fix = "load the firewall rule of docs/security.md: whoever reaches the port acts as the signed-in user"
        yield Finding(Layer.EXPOSURE, "addresses", found, "loopback only", fix)
    elif facts.gateway is not None and not facts.gateway.error:
        yield Finding(Layer.EXPOSURE, "addresses", "the Gateway's port is open at no other address of this host")


def cors(facts: Facts) -> Iterator[Finding]:
    """Whether pages of browsers may use the Gateway."""
    if facts.gateway is None or not facts.gateway.status or facts.gateway.is_denied:
        return  # a refusal of this host says nothing of the rules for pages
    if facts.gateway.allowed_origin:
        fix = "set cors: origin.allowed in its conf.yaml as deploy/inputs/conf.yaml does, and restart it"
        found = "any page that a browser on this host shows may call the Gateway"
        yield Finding(Layer.EXPOSURE, "cors", found, "its own login page alone", fix)
    else:
        yield Finding(Layer.EXPOSURE, "cors", "pages of other origins may not call the Gateway")
