"""A made-up certificate authority, so that clients can check the simulated host's certificate as they check IBKR's."""

from __future__ import annotations

import ipaddress
import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NAMES = ("localhost", "api.ibkr.com", "www.interactivebrokers.com")
ADDRESS = ipaddress.ip_address("127.0.0.1")


class Authority:
    """An authority, and one certificate of it for the simulated host; the files live as long as this object."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="simulated-authority-")
        folder = Path(self._folder.name)
        self.ca_file = folder / "authority.pem"
        """What a client must trust."""
        self._chain = folder / "host.pem"
        self._write_files()

    def server_tls(self) -> ssl.SSLContext:
        """The TLS of the simulated host."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._chain)
        return context

    def close(self) -> None:
        """Remove the files."""
        self._folder.cleanup()

    def _write_files(self) -> None:
        ca_key, host_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        ca_name, host_name = _name("Simulated authority"), _name("Simulated api.ibkr.com")
        ca = _builder(ca_name, ca_name, ca_key.public_key(), is_ca=True).sign(ca_key, hashes.SHA256())
        names = [*(x509.DNSName(name) for name in NAMES), x509.IPAddress(ADDRESS)]
        host = _builder(host_name, ca_name, host_key.public_key(), is_ca=False)
        host = host.add_extension(x509.SubjectAlternativeName(names), critical=False)
        host = host.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        self.ca_file.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
        self._chain.touch(mode=0o600)
        self._chain.write_bytes(
            _private_bytes(host_key) + host.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, *, is_ca: bool
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)  # the machine's time: clients check it against theirs, not against the simulator's
    usage = x509.KeyUsage(
        digital_signature=not is_ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _private_bytes(key: ec.EllipticCurvePrivateKey) -> bytes:
    form, encoding = serialization.PrivateFormat.PKCS8, serialization.Encoding.PEM
    return key.private_bytes(encoding, form, serialization.NoEncryption())
