"""The command: its options, its output and its exit status."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from ibkr_bridge.cli import EXIT_FAILURE, EXIT_MISCONFIGURED, EXIT_OK
from ibkr_bridge.cli.bridge_access import client_settings
from ibkr_bridge.cli.command_parser import new_parser
from ibkr_bridge.cli.doctor.checks import find_all
from ibkr_bridge.cli.doctor.collect import collect
from ibkr_bridge.cli.doctor.finding import Finding, Layer, first_broken
from ibkr_bridge.config.settings import SettingsError
from ibkr_bridge.redaction import escape_unprintable

MORE = "Nothing is sent to IBKR but one request for a quote, and that only while the session is ready."
EXAMPLES = {
    "doctor": "each layer between an app and IBKR",
    "doctor --env-file ../app/.env.production": "and the variables of an app",
}


def run(argv: Sequence[str]) -> int:
    """Run all checks. Returns 0 if all pass, 78 if the settings cannot be used, 1 if another check fails."""
    args = build_parser().parse_args(argv)
    try:
        settings = client_settings()
    except SettingsError as exc:
        _print_findings([_unusable(*vars(problem).values()) for problem in exc.problems], as_json=args.json)
        return EXIT_MISCONFIGURED
    findings = find_all(collect(settings, args.env_file.absolute() if args.env_file else None))
    _print_findings(findings, as_json=args.json)
    return EXIT_OK if first_broken(findings) is None else EXIT_FAILURE


def build_parser() -> argparse.ArgumentParser:
    """The parser of this command."""
    about = "Look at each layer between an app and IBKR, and say how to fix what is wrong."
    parser = new_parser("doctor", about, EXAMPLES, MORE)
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.add_argument("--env-file", type=Path, metavar="FILE", help="check the variables of an app in this file too")
    return parser


def _unusable(name: str, found: str, allowed: str) -> Finding:
    return Finding(Layer.SETTINGS, name, found, allowed, f"correct {name}: {allowed}")


def _print_findings(findings: Sequence[Finding], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps([finding.as_json() for finding in findings]))
        return
    for finding in findings:
        print(escape_unprintable(f"{'!!' if finding.is_broken else 'ok'}  {finding.check:<12} {finding.found}"))
        if finding.is_broken:
            if finding.expected:
                print(escape_unprintable(f"                 expected: {finding.expected}"))
            print(escape_unprintable(f"                 fix: {finding.fix}"))
    first = first_broken(findings)
    if first is not None:
        rest = "what stands below it may be its consequence."
        print(f"The first broken layer is `{first.layer.value}`. Begin with `{first.check}`: {rest}")
