"""The library of tokens leaves `cryptography` out, and hides it from nobody else."""

from __future__ import annotations

import subprocess
import sys


def run(code: str) -> str:
    """What a new Python prints."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_it_does_not_import_what_its_tokens_do_not_need() -> None:
    """The package would cost a bridge without OAuth 11 MB."""
    assert run("import sys, ibkr_bridge.server.jwt_library; print('cryptography' in sys.modules)") == "False"


def test_others_can_import_it_afterwards() -> None:
    """A profile over OAuth needs it in the same process."""
    code = "import ibkr_bridge.server.jwt_library, cryptography.hazmat.primitives.hashes as h; print(h.SHA256.name)"

    assert run(code) == "sha256"


def test_an_earlier_import_stays() -> None:
    """Nobody loses a module that is in use."""
    code = "import sys, cryptography as c, ibkr_bridge.server.jwt_library; print(sys.modules['cryptography'] is c)"

    assert run(code) == "True"
