"""`bridge.py demo`: a simulated Gateway and the bridge in front of it. It uses no account, no network and no `.env`."""

from __future__ import annotations

import argparse
import asyncio
import functools
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from ibkr_bridge.cli import EXIT_FAILURE, EXIT_MISCONFIGURED, EXIT_OK, control_path, given_path, port, settings_message
from ibkr_bridge.cli.command_parser import new_parser
from ibkr_bridge.cli.demo_file import DemoFile
from ibkr_bridge.cli.demo_users import DEFAULT_ACTIVATION_S, DEFAULT_CALLBACK, DemoUsers, open_users
from ibkr_bridge.cli.env_file import EnvFileError, read_lines, write_settings
from ibkr_bridge.cli.serve import start_failure
from ibkr_bridge.cli.sim import position_count
from ibkr_bridge.config.env_reader import DEMO_KEY
from ibkr_bridge.config.settings import Settings, SettingsError
from ibkr_bridge.daemon import Bridge
from ibkr_bridge.events import Bus
from ibkr_bridge.ibkr.endpoint import Layer
from ibkr_bridge.observe.logs import open_log
from ibkr_bridge.profiles.profile import Profile
from ibkr_bridge.program_name import name_commands
from ibkr_bridge.redaction import Redactor
from ibkr_bridge.server.app_keys import DemoControl
from ibkr_bridge.sim.control import Control, ControlError, send
from ibkr_bridge.sim.gateway.rules import OWN_PAGES_ONLY
from ibkr_bridge.sim.market.holdings import DEFAULT_POSITIONS
from ibkr_bridge.sim.simulator import Simulator

LOGIN_TIMEOUT_S = 10.0  # the session opens in a fraction of a second
IGNORED_SETTINGS = ("IBKR_GATEWAY_URL", "IBKR_GATEWAY_FINGERPRINT", "IBKR_GATEWAY_CA_FILE", "IBKR_BRIDGE_STATE_DIR")
INTRODUCTION = """\
This is a demo: a simulated Gateway with paper accounts, and the bridge in front of it.
It needs no account at IBKR and no network, and it reaches no real Gateway.
"""
WELCOME = """\
A simulated Gateway listens at {gateway}: paper accounts, quotes that move, no network.
The bridge listens at {url}. Ctrl-C ends both.

Try, in another terminal:

{export}  curl {url}/health
  curl {url}/gateway/auth-status
  curl -H "X-Bridge-Key: $IBKR_BRIDGE_KEY" {url}/portfolio/accounts

{without_settings}Make something go wrong: python bridge.py trigger --help
"""

EXAMPLES = {
    "demo": "at the port of IBKR_BRIDGE_URL",
    "demo --port 8010": "at another port",
    "demo --write-env ../app/.env": "write its address and its key into the file of an app",
    "demo --users": "with a second user, who connects to a simulated api.ibkr.com",
}


def run(argv: Sequence[str]) -> int:
    """Run both until Ctrl-C. Returns 0 after a drain, 1 after an error, 78 if the settings cannot be used."""
    args = build_parser().parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="ibkr-bridge-demo-") as state:
        try:
            settings = demo_settings(os.environ, Path(state), args.port)
            if args.write_env is not None:
                read_lines(args.write_env)
        except SettingsError as exc:
            print(settings_message(exc), file=sys.stderr)
            return EXIT_MISCONFIGURED
        except EnvFileError as exc:
            print(exc, file=sys.stderr)
            return EXIT_FAILURE
        try:
            return asyncio.run(_run_both(settings, args))
        except OSError as exc:
            print(start_failure(exc, settings), file=sys.stderr)
            return EXIT_FAILURE


def build_parser() -> argparse.ArgumentParser:
    """The parser of this command."""
    parser = new_parser("demo", "A simulated Gateway and the bridge in front of it.", EXAMPLES)
    parser.add_argument("--port", type=port, metavar="N", help="port of the bridge (default: that of IBKR_BRIDGE_URL)")
    parser.add_argument(
        "--gateway-port",
        type=port,
        default=0,
        metavar="N",
        help="port of the simulated Gateway (default: a free one)",
    )
    parser.add_argument(
        "--positions",
        type=position_count,
        default=DEFAULT_POSITIONS,
        metavar="N",
        help=f"positions of the first account (default: {DEFAULT_POSITIONS}); 100 fill a page",
    )
    parser.add_argument(
        "--write-env",
        type=given_path,
        metavar="FILE",
        help="set IBKR_BRIDGE_URL and IBKR_BRIDGE_KEY in this file, such as the .env of your app",
    )
    users = parser.add_argument_group("a second user, ben, who connects without a Gateway")
    users.add_argument(
        "--users",
        action="store_true",
        help="a simulated api.ibkr.com and keys of an app; --write-env sets IBKR_BRIDGE_ADMIN_KEY too",
    )
    users.add_argument(
        "--api-port", type=port, default=0, metavar="N", help="port of api.ibkr.com (default: a free one)"
    )
    users.add_argument(
        "--callback", default=DEFAULT_CALLBACK, metavar="URL", help=f"callback of the app (default: {DEFAULT_CALLBACK})"
    )
    users.add_argument(
        "--activation-seconds",
        type=float,
        default=DEFAULT_ACTIVATION_S,
        metavar="N",
        help=f"how long IBKR takes to activate keys (default: {DEFAULT_ACTIVATION_S:.0f}); in truth a night",
    )
    return parser


def demo_settings(env: Mapping[str, str], state: Path, bridge_port: int | None = None) -> Settings:
    """The settings of the environment, without those of a real Gateway and without IBKR's maintenance windows.

    Args:
        env: the environment; without a key in it, the key is `DEMO_KEY`.
        state: the state directory.
        bridge_port: the port of the bridge; None for that of the environment.
    """
    own = {name: value for name, value in env.items() if name.startswith("IBKR_") and name not in IGNORED_SETTINGS}
    defaults = {"IBKR_BRIDGE_MAINTENANCE": "none", "IBKR_BRIDGE_KEY": DEMO_KEY}
    fixed = {"IBKR_BRIDGE_STATE_DIR": str(state)}
    if bridge_port is not None:
        fixed["IBKR_BRIDGE_URL"] = f"http://127.0.0.1:{bridge_port}"
    return Settings.from_env({**defaults, **own, **fixed})


async def _run_both(settings: Settings, args: argparse.Namespace) -> int:
    bus, redactor = Bus(), Redactor()
    log = open_log(settings.log_format, settings.log_level, redactor, os.environ)
    log.access_log = settings.access_log
    log.attach(bus)
    async with AsyncExitStack() as resources:
        print(INTRODUCTION, flush=True)
        _report("1/3 starting the simulated Gateway")
        try:
            simulator = await resources.enter_async_context(
                Simulator(gateway_port=args.gateway_port, positions=args.positions, settings=OWN_PAGES_ONLY)
            )
        except OSError as exc:
            print(f"The simulated Gateway cannot use port {args.gateway_port}: {exc.strerror}", file=sys.stderr)
            return EXIT_FAILURE
        _report("2/3 starting the bridge")
        settings = settings.with_gateway(simulator.url)
        users = await resources.enter_async_context(open_users(simulator, settings, args)) if args.users else None
        settings = users.settings if users is not None else settings
        # Without users no options are passed: benches and tests run this command with options of their own.
        build = functools.partial(Bridge, options=users.options) if users is not None else Bridge
        bridge = build(settings, bus, redactor, env=os.environ, demo=_commands(lambda: bridge.url))
        for signum in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(signum, bridge.stop.set)
        await bridge.start()
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, bridge.reload, lambda: settings)
        control = Control(
            simulator, control_path(int(bridge.url.rpartition(":")[2])), lambda: _forget_faults(bridge.profile)
        )
        await control.start()
        resources.push_async_callback(control.stop)
        _report("3/3 signing in and opening the brokerage session")
        await bridge.profile.keeper.wait_until_up(Layer.BROKERAGE, LOGIN_TIMEOUT_S)
        if users is not None:
            await users.add_company(bridge.connections)
        app = users.app_settings if users is not None else {"IBKR_BRIDGE_KEY": settings.key}
        if args.write_env is not None and not _write_env(args.write_env, {"IBKR_BRIDGE_URL": bridge.url, **app}):
            await bridge.finish()
            return EXIT_FAILURE
        if settings.key == DEMO_KEY:
            demo_file = DemoFile(bridge.url, simulator.url, str(settings.state_dir), settings.key).write()
            resources.callback(demo_file.unlink, missing_ok=True)
        print(_welcome(bridge.url, simulator.url, settings.key, users), flush=True)
        await bridge.stop.wait()
        unfinished = await bridge.finish()
    return EXIT_FAILURE if bridge.failed or unfinished else EXIT_OK


def _commands(url: Callable[[], str]) -> DemoControl:
    """Lets the page of a demo send commands to the simulator, as `bridge.py trigger` does.

    Args:
        url: returns the address of the bridge.
    """

    async def command(method: str, target: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        try:
            return await send(control_path(int(url().rpartition(":")[2])), method, target, body)
        except ControlError as exc:
            raise ValueError(str(exc)) from exc

    return command


def _report(step: str) -> None:
    print(f"  {step} ...", flush=True)


def _write_env(path: Path, settings: Mapping[str, str]) -> bool:
    """Write address and keys into an app's file; return False if that is not possible, and say why."""
    try:
        write_settings(path, settings)
    except EnvFileError as exc:
        print(exc, file=sys.stderr)
        return False
    *names, last = settings
    print(f"{', '.join(names)} and {last} were written into {path}, readable by you alone.", flush=True)
    return True


def _welcome(url: str, gateway: str, key: str, users: DemoUsers | None) -> str:
    """What to try. A key that a person has set may be a real one and is never printed."""
    is_demo_key = key == DEMO_KEY
    key_line = f"  export IBKR_BRIDGE_KEY={key}\n" if is_demo_key else ""
    without_settings = "Or without any setting: python bridge.py status (doctor, orders)\n" if is_demo_key else ""
    export = f"{key_line}  export IBKR_BRIDGE_URL={url}\n"
    about_users = users.welcome if users is not None else ""
    text = about_users + WELCOME.format(gateway=gateway, url=url, export=export, without_settings=without_settings)
    return "\n" + name_commands(text)


async def _forget_faults(profile: Profile) -> None:
    """Reset what the bridge learned from faults, and check the session."""
    profile.penalty_box.end_penalty()
    profile.keeper.end_slow_down()
    await profile.keeper.reopen()
