"""The parts of `bridge.py profile` for the road without a Gateway: new keys, what to upload where, and the import.

The private halves go to the bridge over the control socket, which seals them: they are never written to a disk. The
public files are written for the upload to IBKR.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ibkr_bridge.cli import given_path
from ibkr_bridge.cli.control_client import ControlFailed, request
from ibkr_bridge.oauth.dh_parameters import ParametersProblem
from ibkr_bridge.oauth.ibkr_pages import UPLOAD_PAGE
from ibkr_bridge.oauth.new_keys import KeysNotMade, make_keys
from ibkr_bridge.program_name import PROGRAM

MAX_INPUT_BYTES = 64 * 1024
PROMPTS: Mapping[str, str] = {
    "consumer_key": "consumer key (nine letters)",
    "access_token": "access token",
    "access_token_secret": "access token secret",
}
CONSUMER_PROMPTS: Mapping[str, str] = {
    "consumer_key": "consumer key",
    "signature_key": "signature key (@FILE)",
    "encryption_key": "encryption key (@FILE)",
    "dh_parameters": "Diffie-Hellman parameters (@FILE)",
}
UPLOAD_TEXT = """What to do now, at IBKR:
  1. Open {page}
     and sign in with the username of this profile. Use this address wherever the account is.
  2. Choose a consumer key of nine letters, and save it.
  3. Upload from {folder}:
       public_signature.pem as the public signing key, public_encryption.pem as the public encryption key,
       and dhparam.pem as the Diffie-Hellman parameters. The two keys are easily swapped.
  4. Generate the access token, and copy token and secret: the secret is shown once.
  5. Switch "Enable OAuth Access" on. For orders, "Read-Only Access" must be off in Client Portal.
  6. {program} profile import {name}
IBKR takes everything over at its next reset: after a night, or only after the weekend. Until then the profile is
`activating`. Change nothing in that time: every change begins it anew."""


def make_and_send_keys(args: argparse.Namespace, state_dir: Path | None) -> str:
    """Make the keys of a new profile, let the bridge seal them, write the public files, and say what to do.

    Raises:
        ControlFailed: the keys could not be made, or the bridge did not take them.
    """
    folder = given_path(args.out or f"{args.name}-ibkr")
    try:
        dh_parameters = given_path(args.dhparam).read_text("ascii") if args.dhparam else None
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        keys = asyncio.run(make_keys(dh_parameters, _show_step))
        for name, text in keys.public_files.items():
            (folder / name).write_text(text, "ascii", newline="\n")  # IBKR's page refuses other ends of lines
    except (OSError, UnicodeDecodeError, KeysNotMade, ParametersProblem) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else str(exc)
        raise ControlFailed(f"the keys of {args.name} were not made: {reason}") from exc
    request(state_dir, "POST", f"/profiles/{args.name}/credential", keys.members)
    return UPLOAD_TEXT.format(page=UPLOAD_PAGE, folder=folder, program=PROGRAM, name=args.name)


def read_credential(prompts: Mapping[str, str]) -> dict[str, Any]:
    """The members of a credential from standard input: JSON, or what a person types line by line.

    Args:
        prompts: what a person is asked for, by member.

    Raises:
        ControlFailed: the input is neither.
    """
    if sys.stdin.isatty():
        return {name: _from_file(_prompt(text)) for name, text in prompts.items()}
    text = sys.stdin.read(MAX_INPUT_BYTES)
    try:
        members = json.loads(text) if text.lstrip().startswith("{") else _lines(text)
    except (ValueError, RecursionError) as exc:
        raise ControlFailed("the input is neither JSON nor lines with NAME=VALUE") from exc
    if not isinstance(members, dict):
        raise ControlFailed("the input must be an object of JSON, or lines with NAME=VALUE")
    return {name: _from_file(value) for name, value in members.items()}


def _lines(text: str) -> dict[str, str]:
    pairs = [line.partition("=") for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not pairs or not all(equals for _, equals, _ in pairs):
        raise ValueError("no pairs")
    return {name.strip(): value.strip() for name, _, value in pairs}


def _from_file(value: Any) -> Any:
    """A value, or the text of the file that `@PATH` names: keys in PEM have many lines."""
    if not isinstance(value, str) or not value.startswith("@"):
        return value
    try:
        return given_path(value[1:]).read_text("ascii")
    except (OSError, UnicodeDecodeError) as exc:
        raise ControlFailed("a file that the input names with @ cannot be read") from exc


def _prompt(text: str) -> str:
    import getpass

    return getpass.getpass(f"{text}: ").strip()


def _show_step(text: str) -> None:
    print(f"{text} …", file=sys.stderr, flush=True)
