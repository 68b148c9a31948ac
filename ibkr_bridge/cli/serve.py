"""`bridge.py` and `bridge.py serve`: the daemon."""

from __future__ import annotations

import argparse
import asyncio
import errno
import gc
import os
import signal
import ssl
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from ibkr_bridge.cli import EXIT_FAILURE, EXIT_MISCONFIGURED, EXIT_OK, settings_message
from ibkr_bridge.cli.command_parser import new_parser
from ibkr_bridge.config.settings import Settings, SettingsError, load_server_settings
from ibkr_bridge.config.sources import dotenv_path, environment_at_reload, environment_at_restart
from ibkr_bridge.daemon import Bridge
from ibkr_bridge.events import Bus
from ibkr_bridge.observe.logs import PRIORITY, Log, leads_to_journal, open_log
from ibkr_bridge.redaction import Redactor

GC_THRESHOLD = 10_000  # objects; with Python's default of 700 the collector runs every few calls
MAX_WORKERS = 8
"""Threads for what takes long, such as signatures and names of hosts; the unit of systemd allows 32 in all."""

EXAMPLES = {"serve": "with the settings of the environment and of .env"}


def run(argv: Sequence[str]) -> int:
    """Serve until a signal comes. Returns 0 after a drain, 1 after an error, 78 if the settings cannot be used."""
    build_parser().parse_args(argv)
    try:
        settings = load_server_settings(os.environ, dotenv_path())
    except SettingsError as exc:
        print_start_error(settings_message(exc))
        return EXIT_MISCONFIGURED
    return serve(settings)


def build_parser() -> argparse.ArgumentParser:
    """The parser of this command."""
    return new_parser(
        "serve",
        "Run the bridge until a signal comes. SIGHUP reloads the keys, the log level and the access log.",
        EXAMPLES,
    )


def print_start_error(text: str) -> None:
    """Say why the bridge does not start. In systemd's journal each line has the level of an error."""
    # Before the log is open a line reaches the journal through the stream, which reads `<N>` as its priority.
    prefix = f"<{PRIORITY['error']}>" if leads_to_journal(sys.stderr, os.environ) else ""
    print("\n".join(prefix + line for line in text.splitlines()), file=sys.stderr)


def serve(settings: Settings) -> int:
    """Run one bridge with these settings until a signal comes."""
    bus, redactor = Bus(), Redactor()
    log = open_log(settings.log_format, settings.log_level, redactor, os.environ)
    log.access_log = settings.access_log
    log.attach(bus)
    try:
        return asyncio.run(_run_until_stopped(Bridge(settings, bus, redactor, env=os.environ), log))
    except ssl.SSLError:
        print_start_error("IBKR_GATEWAY_CA_FILE: the file must hold certificates in PEM format")
        return EXIT_MISCONFIGURED
    except OSError as exc:
        print_start_error(start_failure(exc, settings))
        return EXIT_FAILURE


def start_failure(exc: OSError, settings: Settings) -> str:
    """Why the bridge could not start, and how to find out more."""
    address = settings.url
    if exc.errno == errno.EADDRINUSE:
        return (
            f"{address} is in use by another program. To see which: ss -ltnp 'sport = :{address.port}'\n"
            "Stop it, or choose another port in IBKR_BRIDGE_URL."
        )
    return f"The bridge could not start at {address}: {exc.strerror or type(exc).__name__}"


async def _run_until_stopped(bridge: Bridge, log: Log) -> int:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(MAX_WORKERS, "worker"))  # Python's own allows one more for each core
    for signum in (signal.SIGTERM, signal.SIGINT):  # before READY goes to systemd: a stop may follow at once
        loop.add_signal_handler(signum, bridge.stop.set)
    loop.add_signal_handler(signal.SIGHUP, lambda: None)  # a signal without a handler would end the process
    await bridge.start()
    loop.add_signal_handler(signal.SIGHUP, _reload, bridge, log)
    gc.freeze()  # the objects of the start live on; the collector need not visit them again
    gc.set_threshold(GC_THRESHOLD)
    await bridge.stop.wait()
    unfinished = await bridge.finish()
    return EXIT_FAILURE if bridge.failed or unfinished else EXIT_OK


def _reload(bridge: Bridge, log: Log) -> None:
    """Read keys and the settings of the log again. All others need a restart; those that changed are reported."""
    settings = bridge.reload(
        lambda: load_server_settings(environment_at_reload(os.environ), dotenv_path()),
        lambda: load_server_settings(environment_at_restart(os.environ), dotenv_path()),
    )
    if settings is not None:
        log.level, log.access_log = settings.log_level, settings.access_log
