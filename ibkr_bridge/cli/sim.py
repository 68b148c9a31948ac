"""`bridge.py sim`: the simulated Gateway alone, for tests of other clients of this API.

With `--api-port` the simulated api.ibkr.com listens as well, for programs that sign in by OAuth.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from ibkr_bridge.cli import EXIT_FAILURE, EXIT_OK, control_path, port
from ibkr_bridge.cli.command_parser import new_parser
from ibkr_bridge.sim.clock import FastClock
from ibkr_bridge.sim.control import Control
from ibkr_bridge.sim.gateway.rules import OWN_PAGES_ONLY
from ibkr_bridge.sim.market.holdings import DEFAULT_POSITIONS, MAX_POSITIONS
from ibkr_bridge.sim.simulator import Simulator

if TYPE_CHECKING:
    from ibkr_bridge.sim.api_host import ApiHost

EXAMPLES = {
    "sim": "at port 5000, as a real Gateway",
    "sim --signed-out": "with nobody signed in",
    "sim --api-port 5100": "and api.ibkr.com at port 5100, for programs without a Gateway",
}


def run(argv: Sequence[str]) -> int:
    """Run the simulated Gateway until Ctrl-C."""
    args = build_parser().parse_args(argv)
    try:
        return asyncio.run(_run_until_stopped(args))
    except OSError as exc:
        ports = " or ".join(f"127.0.0.1:{each}" for each in (args.gateway_port, args.api_port) if each is not None)
        print(f"{ports} cannot be used: {exc.strerror}", file=sys.stderr)
        return EXIT_FAILURE


def build_parser() -> argparse.ArgumentParser:
    """The parser of this command."""
    parser = new_parser("sim", "The simulated Gateway alone.", EXAMPLES)
    parser.add_argument("--gateway-port", type=port, default=5000, help="where it listens (default: 5000)")
    parser.add_argument("--signed-out", action="store_true", help="begin with nobody signed in")
    parser.add_argument("--live", action="store_true", help="live account numbers instead of paper ones")
    parser.add_argument(
        "--pacing", action="store_true", help="answer 429 as IBKR does, and put callers that go on into the penalty box"
    )
    parser.add_argument(
        "--positions",
        type=position_count,
        default=DEFAULT_POSITIONS,
        metavar="N",
        help=f"positions of the first account (default: {DEFAULT_POSITIONS}); 100 fill a page",
    )
    parser.add_argument("--api-port", type=port, help="where the simulated api.ibkr.com listens (default: nowhere)")
    parser.add_argument(
        "--api-lenient",
        action="store_true",
        help="let it accept the older forms of a signature, which other clients use",
    )
    parser.add_argument("--rate", type=float, default=1.0, help="how fast time runs (default: 1)")
    return parser


def position_count(text: str) -> int:
    """Parse a number of positions.

    Raises:
        ArgumentTypeError: the simulated market has not so many contracts.
    """
    if not text.isdecimal() or int(text) > MAX_POSITIONS:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to {MAX_POSITIONS}")
    return int(text)


async def _run_until_stopped(args: argparse.Namespace) -> int:
    stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    simulator = Simulator(
        clock=FastClock(args.rate),
        gateway_port=args.gateway_port,
        settings=OWN_PAGES_ONLY,
        pacing=args.pacing,
        live=args.live,
        positions=args.positions,
        logged_in=not args.signed_out,
    )
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(simulator)
        control = Control(simulator, control_path(simulator.gateway.port))
        await control.start()
        stack.push_async_callback(control.stop)
        print(f"A simulated Gateway listens at {simulator.url}. Ctrl-C ends it.", flush=True)
        if args.api_port is not None:
            host = await stack.enter_async_context(_make_api_host(args, simulator))
            print(f"A simulated api.ibkr.com listens at {host.url}. Register at {host.url}/self-service.")
            print(f"The certificate to trust: {host.ca_file}", flush=True)
        await stop.wait()
    return EXIT_OK


def _make_api_host(args: argparse.Namespace, simulator: Simulator) -> ApiHost:
    """The public host beside the Gateway: at the same time, with the same faults, for users of its own."""
    # imported here: only this option needs the library of RSA and certificates
    from ibkr_bridge.sim.api_host import ApiHost

    options = {"pacing": args.pacing, "positions": args.positions}
    host = ApiHost(clock=simulator.clock, port=args.api_port, tls=True, strict=not args.api_lenient, **options)
    host.follow(simulator.faults)
    return host
