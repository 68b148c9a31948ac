"""Looks at the Gateway's port without a call to IBKR.

Five calls that IBKR never answers stop the Gateway. So the only request is one for its root page, which the Gateway
answers itself. It shows the address rules and the rules for pages of browsers, before any login.
"""

from __future__ import annotations

import hashlib
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ibkr_bridge.config.settings import Address, Settings

CONNECT_TIMEOUT_S = 3.0
ADDRESS_TIMEOUT_S = 0.4  # for each other address of this host: the kernel answers at once
MAX_ANSWER_BYTES = 16 * 1024
FOREIGN_ORIGIN = "https://page.invalid"  # no page has it (RFC 2606), so only a rule for all pages allows it
SHIPPED_FINGERPRINT = "13daf89a0712b962c3ecaa5ede344100aee0d3b5dec5a79abd7602a812eda3be"
"""Of the certificate in every Gateway of IBKR: expired, self-signed, without a name."""


@dataclass(frozen=True)
class GatewayAnswer:
    """What the Gateway's port has shown."""

    error: str = ""
    """Why there is no connection; empty if there is one."""
    is_timeout: bool = False
    is_wrong_tls: bool = False
    tls: str = ""
    fingerprint: str = ""
    """SHA-256 of the certificate, in hexadecimal; empty without TLS."""
    certificate_problem: str = ""
    """Why the certificate is not the one that the settings demand."""
    status: int = 0
    """Of the root page; 0 if nothing came that is HTTP."""
    is_denied: bool = False
    allowed_origin: str = ""


def probe_gateway(settings: Settings) -> GatewayAnswer:
    """Connect once, shake hands, and request the root page."""
    try:
        with _connect(settings) as plain:
            if settings.gateway_url.scheme != "https":
                return _request_root(plain, settings.gateway_url, GatewayAnswer(tls="plain HTTP"))
            return _probe_tls(plain, settings)
    except TimeoutError:
        return GatewayAnswer("it does not answer", is_timeout=True)
    except ssl.SSLError:
        return GatewayAnswer("it answers, but not with TLS", is_wrong_tls=True)
    except OSError as exc:
        return GatewayAnswer(exc.strerror or "no such host")


def _connect(settings: Settings) -> socket.socket:
    if settings.gateway_socket is None:
        return socket.create_connection((settings.gateway_url.host, settings.gateway_url.port), CONNECT_TIMEOUT_S)
    plain = socket.socket(socket.AF_UNIX)
    plain.settimeout(CONNECT_TIMEOUT_S)
    plain.connect(str(settings.gateway_socket))
    return plain


def _probe_tls(plain: socket.socket, settings: Settings) -> GatewayAnswer:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = (
        False,
        ssl.CERT_NONE,
    )  # it is shown, not trusted: nothing secret is sent
    with context.wrap_socket(plain, server_hostname=settings.gateway_url.host) as tls:
        digest = hashlib.sha256(tls.getpeercert(binary_form=True) or b"").digest()
        problem = _certificate_problem(settings, digest)
        answer = GatewayAnswer(tls=str(tls.version()), fingerprint=digest.hex(), certificate_problem=problem)
        return _request_root(tls, settings.gateway_url, answer)


def _certificate_problem(settings: Settings, digest: bytes) -> str:
    if settings.gateway_fingerprint is not None:
        return "" if settings.gateway_fingerprint == digest else "it is not the one of IBKR_GATEWAY_FINGERPRINT"
    return _chain_problem(settings.gateway_url, settings.gateway_ca_file) if settings.gateway_ca_file else ""


def _chain_problem(address: Address, ca_file: Path) -> str:
    try:
        context = ssl.create_default_context(cafile=ca_file)
        with (
            socket.create_connection((address.host, address.port), CONNECT_TIMEOUT_S) as plain,
            context.wrap_socket(plain, server_hostname=address.host),
        ):
            return ""
    except ssl.SSLCertVerificationError as exc:
        return f"no certificate of IBKR_GATEWAY_CA_FILE has signed it: {exc.verify_message}"
    except OSError as exc:
        return f"it cannot be verified: {exc.strerror or type(exc).__name__}"


def _request_root(connection: socket.socket, address: Address, answer: GatewayAnswer) -> GatewayAnswer:
    """Add what the root page shows; an answer that is no HTTP has the status 0."""
    host = f"{address.host}:{address.port}"
    request = f"GET / HTTP/1.1\r\nHost: {host}\r\nOrigin: {FOREIGN_ORIGIN}\r\nConnection: close\r\n\r\n"
    text = ""
    with suppress(OSError):  # what came before the connection broke is used
        connection.sendall(request.encode())
        text = _read_answer(connection)
    return read_root(text, answer)


def _read_answer(connection: socket.socket) -> str:
    """The head, and the beginning of the body, until the connection ends or nothing more comes."""
    received = b""
    with suppress(OSError):
        while len(received) < MAX_ANSWER_BYTES and b"\r\n\r\n" not in received.rstrip(b"\r\n"):
            piece = connection.recv(MAX_ANSWER_BYTES)
            if not piece:
                break
            received += piece
            if _is_complete(received):
                break
    return received.decode("latin-1")


def _is_complete(received: bytes) -> bool:
    """Whether the head is complete, and the body too if it is a refusal."""
    head, separator, body = received.partition(b"\r\n\r\n")
    return bool(separator) and (b" 404 " not in head.split(b"\r\n")[0] or b"Access Denied" in body)


def read_root(text: str, answer: GatewayAnswer) -> GatewayAnswer:
    """What an answer to the request for the root page shows, added to what the connection has shown."""
    head, _, body = text.partition("\r\n\r\n")
    first, *lines = head.split("\r\n")
    words = first.split(" ")
    if len(words) < 2 or not words[0].startswith("HTTP/") or not words[1].isdigit():
        return answer
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return GatewayAnswer(
        tls=answer.tls,
        fingerprint=answer.fingerprint,
        certificate_problem=answer.certificate_problem,
        status=int(words[1]),
        is_denied=int(words[1]) == 404 and "Access Denied" in body,
        allowed_origin=headers.get("access-control-allow-origin", ""),
    )


def reachable_addresses(addresses: list[str], port: int) -> list[str]:
    """Those of the addresses at which the port accepts a connection. Nothing is sent."""
    return [address for address in addresses if _accepts(address, port)]


def _accepts(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), ADDRESS_TIMEOUT_S):
            return True
    except OSError:
        return False
