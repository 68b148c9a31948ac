"""Problems of the vault as errors for a caller."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ibkr_bridge.errors import BadRequest
from ibkr_bridge.oauth.credential import CredentialProblem
from ibkr_bridge.profiles.sealed_store import NoCredential

VAULT_HINT = "look at IBKR_BRIDGE_VAULT_KEYS and at the command vault check"


@contextmanager
def vault_errors(beginning: str = "") -> Iterator[None]:
    """Turn what the vault raises into `BadRequest`.

    Args:
        beginning: of the detail, if the vault itself is the problem.

    Raises:
        BadRequest: a part of a credential cannot be used, or the vault cannot.
    """
    try:
        yield
    except CredentialProblem as exc:
        raise BadRequest(exc.detail, hint=exc.hint) from None
    except NoCredential as exc:
        raise BadRequest(f"{beginning}{exc.detail}", hint=VAULT_HINT) from None
