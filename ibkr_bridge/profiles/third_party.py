"""The calls with which a user of a company connects, for one profile. It is loaded when somebody asks for it."""

from __future__ import annotations

from collections.abc import Callable

from ibkr_bridge.clock import Clock
from ibkr_bridge.config.settings import Settings
from ibkr_bridge.errors import UpstreamRefused
from ibkr_bridge.oauth.credential import Consumer, CredentialProblem, ThirdPartyCredential
from ibkr_bridge.oauth.dh_parameters import ParametersProblem, read_dh_parameters
from ibkr_bridge.oauth.refusals import Refusal
from ibkr_bridge.oauth.signing import KeyProblem, load_rsa_key
from ibkr_bridge.profiles.single_calls import open_api
from ibkr_bridge.upstream.oauth.access import AccessRefused
from ibkr_bridge.upstream.oauth.connect import Connect

WORDS = {
    Refusal.INACTIVE: "IBKR does not know the consumer key of the company yet",
    Refusal.INVALID_SIGNATURE: "IBKR refuses the signature key of the company",
}
HINT = "begin the connection again; if that fails too, compare the keys of PUT /consumer with those IBKR has"


async def request_token(settings: Settings, consumer: Consumer, clock: Clock) -> str:
    """A request token of IBKR, with which a user is sent to its page.

    Raises:
        UpstreamRefused: IBKR gives none.
        GatewayError: IBKR did not answer, or nothing usable.
        OSError: the CA file cannot be read as certificates.
    """
    async with open_api(settings) as (http, base):
        try:
            return await Connect(http, base, consumer, clock).request_token()
        except AccessRefused as exc:
            raise _refused(exc, "IBKR gives no request token to this company") from None


async def access_credential(
    settings: Settings, consumer: Consumer, clock: Clock, token: str, verifier: str
) -> ThirdPartyCredential:
    """The credential of a user who came back from IBKR's page.

    Raises:
        UpstreamRefused: IBKR gives none.
        GatewayError: IBKR did not answer, or nothing usable.
        OSError: the CA file cannot be read as certificates.
    """
    async with open_api(settings) as (http, base):
        try:
            return await Connect(http, base, consumer, clock).access_token(token, verifier)
        except AccessRefused as exc:
            raise _refused(exc, "IBKR gives no access token for this verifier") from None


def check_keys(consumer: Consumer) -> None:
    """Check that the keys of a company can be read.

    Raises:
        CredentialProblem: one of them cannot; it says which.
    """
    checks: tuple[tuple[str, Callable[[], object]], ...] = (
        ("signature key", lambda: load_rsa_key(consumer.signature_key.encode())),
        ("encryption key", lambda: load_rsa_key(consumer.encryption_key.encode())),
        ("file of DH parameters", lambda: read_dh_parameters(consumer.dh_parameters)),
    )
    for name, read in checks:
        try:
            read()
        except (KeyProblem, ParametersProblem) as exc:
            raise CredentialProblem(f"the {name} of the company cannot be used: {exc}", "send another one") from None


def _refused(refused: AccessRefused, otherwise: str) -> UpstreamRefused:
    return UpstreamRefused(WORDS.get(refused.refusal, otherwise), hint=HINT)
