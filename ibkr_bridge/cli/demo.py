"""`bridge.py demo`: a simulated Gateway and the bridge in front of it. It uses no account, no network and no `.env`."""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from ibkr_bridge.cli import EXIT_FAILURE, EXIT_MISCONFIGURED, EXIT_OK, control_path, port, settings_message
from ibkr_bridge.cli.demo_file import DemoFile
from ibkr_bridge.cli.serve import start_failure
from ibkr_bridge.config.settings import Settings, SettingsError
from ibkr_bridge.daemon import Bridge
from ibkr_bridge.events import Bus
from ibkr_bridge.ibkr.endpoint import Layer
from ibkr_bridge.observe.logs import open_log
from ibkr_bridge.profiles.profile import Profile
from ibkr_bridge.redaction import Redactor
from ibkr_bridge.sim.control import Control
from ibkr_bridge.sim.simulator import Simulator

LOGIN_TIMEOUT_S = 10.0  # the session opens in a fraction of a second
IGNORED_SETTINGS = ("IBKR_GATEWAY_URL", "IBKR_GATEWAY_FINGERPRINT", "IBKR_GATEWAY_CA_FILE", "IBKR_BRIDGE_STATE_DIR")
WELCOME = """\
A simulated Gateway listens at {gateway}: paper accounts, quotes that move, no network.
The bridge listens at {url}. Ctrl-C ends both.

Try, in another terminal:

{export}  curl {url}/health
  curl {url}/gateway/auth-status
  curl -H "X-Bridge-Key: $IBKR_BRIDGE_KEY" {url}/portfolio/accounts

{without_settings}Make something go wrong: python bridge.py trigger --help
"""


def run(argv: Sequence[str]) -> int:
    """Run both until Ctrl-C. Returns 0 after a drain, 1 after an error, 78 if the settings cannot be used."""
    parser = argparse.ArgumentParser(
        prog="bridge.py demo", description="A simulated Gateway and the bridge in front of it."
    )
    parser.add_argument(
        "--gateway-port", type=port, default=0, help="port of the simulated Gateway (default: a free one)"
    )
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="ibkr-bridge-demo-") as state:
        try:
            settings = demo_settings(os.environ, Path(state))
        except SettingsError as exc:
            print(settings_message(exc), file=sys.stderr)
            return EXIT_MISCONFIGURED
        try:
            return asyncio.run(_run_both(settings, args.gateway_port))
        except OSError as exc:
            print(start_failure(exc, settings), file=sys.stderr)
            return EXIT_FAILURE


def demo_settings(env: Mapping[str, str], state: Path) -> Settings:
    """The settings of the environment, without those of a real Gateway and without IBKR's maintenance windows.

    A key is made if the environment has none.
    """
    own = {name: value for name, value in env.items() if name.startswith("IBKR_") and name not in IGNORED_SETTINGS}
    key = {} if "IBKR_BRIDGE_KEY" in env else {"IBKR_BRIDGE_KEY": secrets.token_urlsafe(32)}
    return Settings.from_env({"IBKR_BRIDGE_MAINTENANCE": "none", **own, **key, "IBKR_BRIDGE_STATE_DIR": str(state)})


async def _run_both(settings: Settings, gateway_port: int) -> int:
    bus, redactor = Bus(), Redactor()
    open_log(settings.log_format, settings.log_level, redactor, os.environ).attach(bus)
    async with AsyncExitStack() as resources:
        try:
            simulator = await resources.enter_async_context(Simulator(gateway_port=gateway_port))
        except OSError as exc:
            print(f"The simulated Gateway cannot use port {gateway_port}: {exc.strerror}", file=sys.stderr)
            return EXIT_FAILURE
        bridge = Bridge(settings.with_gateway(simulator.url), bus, redactor, env=os.environ)
        for signum in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(signum, bridge.stop.set)
        await bridge.start()
        control = Control(
            simulator, control_path(int(bridge.url.rpartition(":")[2])), lambda: _forget_faults(bridge.profile)
        )
        await control.start()
        resources.push_async_callback(control.stop)
        await bridge.profile.keeper.wait_until_up(Layer.BROKERAGE, LOGIN_TIMEOUT_S)
        has_own_key = "IBKR_BRIDGE_KEY" in os.environ  # that key may be a real one and is never printed
        key = "" if has_own_key else f"  export IBKR_BRIDGE_KEY={settings.key}\n"
        without_settings = ""
        if not has_own_key:
            without_settings = "Or without any setting: python bridge.py status (doctor, orders)\n"
            demo_file = DemoFile(bridge.url, simulator.url, str(settings.state_dir), settings.key).write()
            resources.callback(demo_file.unlink, missing_ok=True)
        export = f"{key}  export IBKR_BRIDGE_URL={bridge.url}\n"
        print(
            WELCOME.format(gateway=simulator.url, url=bridge.url, export=export, without_settings=without_settings),
            flush=True,
        )
        await bridge.stop.wait()
        unfinished = await bridge.finish()
    return EXIT_FAILURE if bridge.failed or unfinished else EXIT_OK


async def _forget_faults(profile: Profile) -> None:
    """Reset what the bridge learned from faults, and check the session."""
    profile.penalty_box.end_penalty()
    profile.keeper.end_slow_down()
    await profile.keeper.reopen()
