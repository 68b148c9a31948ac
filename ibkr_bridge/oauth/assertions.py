"""The two signed texts of OAuth 2.0 as IBKR wants it: JSON Web Tokens, RS256. Pure: the time is passed in.

The first one gets a bearer token for the client, the second one a session for one username. They are made here in a few
lines: the library for JSON Web Tokens runs without `cryptography` in this process, and so without RS256. Nobody of this
project has seen this road live.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256

from ibkr_bridge.oauth.credential import OAuth2Credential

AUDIENCE = "/token"  # the text itself, and no address
MAX_SKEW_S = 10  # the first assertion begins so many seconds ago, as clocks differ
MAX_AGE_S = 20
SESSION_LIFE_S = 86400
GRANT = "client_credentials"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def client_assertion(credential: OAuth2Credential, key: RSAPrivateKey, now: datetime) -> str:
    """The assertion that proves the client."""
    seconds, client = int(now.timestamp()), credential.client_id
    times = {"exp": seconds + MAX_AGE_S, "iat": seconds - MAX_SKEW_S}
    return _signed(credential.key_id, key, {"iss": client, "sub": client, "aud": AUDIENCE, **times})


def token_request(credential: OAuth2Credential, assertion: str) -> dict[str, str]:
    """The form with which the bearer token of the client is requested."""
    return {
        "grant_type": GRANT,
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": assertion,
        "scope": credential.scope,
    }


def session_assertion(credential: OAuth2Credential, key: RSAPrivateKey, now: datetime) -> str:
    """The assertion that asks for a session of the username, from the address that IBKR will see."""
    seconds = int(now.timestamp())
    times = {"iat": seconds, "exp": seconds + SESSION_LIFE_S}
    claims = {"iss": credential.client_id, "credential": credential.username, "ip": credential.address, **times}
    return _signed(credential.key_id, key, claims)


def _signed(key_id: str, key: RSAPrivateKey, claims: Mapping[str, object]) -> str:
    head = {"alg": "RS256", "typ": "JWT", "kid": key_id}
    text = f"{_encoded(_compact(head))}.{_encoded(_compact(claims))}"
    return f"{text}.{_encoded(key.sign(text.encode('ascii'), padding.PKCS1v15(), SHA256()))}"


def _compact(members: Mapping[str, object]) -> bytes:
    return json.dumps(members, separators=(",", ":")).encode()


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
