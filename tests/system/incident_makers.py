"""How each incident of docs/troubleshooting.md is made on a booted Debian, by its title in the table.

Nothing is replaced in the bridge: the Gateway's process is stopped, the disk is full, the port is taken. What only
IBKR can do, such as ending a session, its simulator does on command. One incident cannot be made here as a person has
it: a container has the clock of its host. So not the machine's clock is set an hour back but IBKR's an hour ahead,
which is the same to the bridge.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.system.machine import Machine

STATE, SETTINGS, APP = "/var/lib/ibkr-bridge", "/opt/ibkr-bridge/.env", "/srv/app/.env.production"
UNITS, STREAM_LOG = "/etc/systemd/system", "/srv/stream.log"
AHEAD, AHEAD_DROP_IN = "/srv/ahead.py", f"{UNITS}/gateway.service.d/ahead.conf"
INIT, ORDERS = "/iserver/auth/ssodh/init", "/iserver/account/DU1234567/orders"
META, SUMMARY = "/portfolio/DU1234567/meta", "/portfolio/DU1234567/summary"
FOUR_READS = (META, SUMMARY, "/portfolio/DU1234567/ledger", "/portfolio/DU1234567/allocation")  # as many as slots
ORDER = {"acctId": "DU1234567", "conid": 265598, "orderType": "LMT", "price": 10, "side": "BUY", "tif": "DAY"}
SHORT_KEY = "short"
PORT_USER = "import socket, time; server = socket.create_server(('127.0.0.1', 8000)); time.sleep(3600)"
IBKR_AHEAD = """import sys
from datetime import UTC, datetime, timedelta
sys.path.insert(0, "/opt/ibkr-bridge/current")
from ibkr_bridge.cli import sim
from ibkr_bridge.sim.clock import FastClock
ahead = datetime.now(UTC) + timedelta(hours=1)
sim.FastClock = lambda _: FastClock(20.0, ahead)
sys.exit(sim.run([]))
"""
RESTART_GATEWAY = "systemctl kill -s KILL gateway.service; systemctl restart gateway.service"
EXTRA_SETTINGS = "IBKR_COMPETE=yield\nIBKR_GATEWAY_TIMEOUT=5\n"  # seconds, so that calls without an answer end soon


class Site:
    """A machine with an installed bridge, its healthy settings, and what a caller got as the last response."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.settings = machine.read(SETTINGS) + EXTRA_SETTINGS
        self.key = machine.key
        self.response = ""

    def trigger(self, *words: str) -> None:
        """Make something go wrong at the Gateway or at IBKR."""
        self.machine.run("ibkr-bridge", "trigger", "--port", "5000", *words, HOME="/run/gateway")

    def call(self, path: str, *options: str) -> None:
        """Send a request of an app."""
        self.response = self.machine.curl(path, "-i", "-H", f"X-Bridge-Key: {self.key}", *options)

    def write_settings(self, text: str) -> None:
        """Replace the settings."""
        self.machine.write(SETTINGS, text, 0o600)

    def stop_bridge(self) -> None:
        """Stop the bridge and close its port."""
        self.machine.run("systemctl", "stop", "ibkr-bridge.socket", "ibkr-bridge.service")

    def recover(self) -> None:
        """Undo every incident: a healthy bridge with an empty state, in front of a Gateway that has just signed in."""
        self.write_settings(self.settings)
        self.machine.sh(
            "systemctl stop taker reader 2>/dev/null; systemctl kill -s KILL gateway.service;"
            "systemctl stop ibkr-bridge.socket ibkr-bridge.service;"
            f"mountpoint -q {STATE} && umount {STATE};"
            f"rm -rf {STATE}/* {STREAM_LOG} {AHEAD_DROP_IN}; systemctl daemon-reload;"
            "systemctl reset-failed; systemctl restart gateway.service; systemctl start ibkr-bridge.service"
        )
        self.machine.wait_until_ready()


def stop_the_gateway(site: Site) -> None:
    site.machine.run("systemctl", "stop", "gateway.service")


def fill_the_slots(site: Site) -> None:
    site.trigger("ibkr-down")
    site.machine.sh("".join(f"{curl(site, path)} & " for path in FOUR_READS) + "wait")


def curl(site: Site, path: str) -> str:
    """The command of an app that does not care about the response."""
    return f"curl -s -m 20 -o /dev/null -H 'X-Bridge-Key: {site.key}' http://127.0.0.1:8000{path}"


def lose_the_brokerage_session(site: Site) -> None:
    site.trigger("status", "--path", INIT, "--status", "500")
    site.trigger("brokerage-lost")


def lose_it_three_times(site: Site) -> None:
    for _ in range(3):
        site.trigger("sso-lost")
        site.machine.wait_until(lambda: "false" in site.machine.curl("/gateway/auth-status"), "the session is not lost")
        site.trigger("login")
        site.machine.wait_until_ready()


def refuse_brokerage_calls(site: Site) -> None:
    site.trigger("no-bridge")
    site.trigger("status", "--path", INIT, "--status", "500")
    for _ in range(2):
        site.call("/iserver/account/trades", "-H", "X-Bridge-Max-Age: 0")


def call_too_often(site: Site) -> None:
    for path in (META, SUMMARY):
        site.trigger("429", "--path", path, "--times", "1")
        site.call(path)


def place_an_order(site: Site) -> None:
    body = json.dumps({"orders": [{**ORDER, "quantity": 1}]})
    site.call(ORDERS, "-H", "Content-Type: application/json", "-d", body)


def pause_trading(site: Site) -> None:
    site.machine.run("ibkr-bridge", "pause")


def lose_the_answer_to_an_order(site: Site) -> None:
    site.trigger("empty-503", "--path", ORDERS, "--times", "1")
    place_an_order(site)


def cut_the_stream(site: Site) -> None:
    reader = f"curl -sN -H 'X-Bridge-Key: {site.key}' 'http://127.0.0.1:8000/stream/quotes?conids=265598' >{STREAM_LOG}"
    site.machine.run("systemd-run", "--unit=reader", "/bin/sh", "-c", reader)
    site.machine.wait_until(lambda: "data:" in site.machine.sh(f"cat {STREAM_LOG}", check=False), "nothing is streamed")
    site.trigger("stream-silent")
    site.trigger("stream-cut")


def set_the_clock_of_ibkr_ahead(site: Site) -> None:
    site.machine.write(AHEAD, IBKR_AHEAD)
    program = f"/opt/ibkr-bridge/current/.venv/bin/python -I -B {AHEAD}"
    site.machine.write(AHEAD_DROP_IN, f"[Service]\nExecStart=\nExecStart={program}\n")
    site.machine.sh(f"systemctl daemon-reload; {RESTART_GATEWAY}")


def reload_a_short_key(site: Site) -> None:
    site.write_settings(site.settings.replace(site.key, SHORT_KEY))
    site.machine.run("systemctl", "reload", "ibkr-bridge", check=False)


def reload_another_mode(site: Site) -> None:
    site.write_settings(f"{site.settings}IBKR_TRADING_MODE=live\n")
    site.machine.run("systemctl", "reload", "ibkr-bridge")


def restart_with_a_short_key(site: Site) -> None:
    site.write_settings(site.settings.replace(site.key, SHORT_KEY))
    site.machine.run("systemctl", "restart", "ibkr-bridge", check=False)


def restart_with_a_misspelt_setting(site: Site) -> None:
    site.write_settings(f"{site.settings}IBKR_MAX_ORDER_VALEU=500\n")
    site.machine.run("systemctl", "restart", "ibkr-bridge", check=False)


def take_the_port(site: Site) -> None:
    site.stop_bridge()
    site.machine.run("systemd-run", "--unit=taker", "python3", "-c", PORT_USER)
    site.machine.wait_until(lambda: ":8000" in site.machine.run("ss", "-ltn").stdout, "nobody takes the port")
    site.machine.run("systemctl", "start", "--no-block", "ibkr-bridge.service")


def call_with_a_former_key(site: Site) -> None:
    former = site.key[::-1]
    site.machine.write(APP, f"IBKR_BRIDGE_URL=http://127.0.0.1:8000\nIBKR_BRIDGE_KEY={former}\n", 0o600)
    site.response = site.machine.curl("/portfolio/accounts", "-i", "-H", f"X-Bridge-Key: {former}")


def fill_the_disk(site: Site) -> None:
    site.stop_bridge()
    site.machine.sh(f"mount -t tmpfs -o size=4M,mode=700 tmpfs {STATE}; chown ibkr-bridge:ibkr-bridge {STATE}")
    site.machine.run("systemctl", "start", "ibkr-bridge.service")
    site.machine.wait_until_ready()
    site.machine.sh(f"cat /dev/zero >{STATE}/others-files 2>/dev/null", check=False)
    place_an_order(site)


def give_the_journal_to_root(site: Site) -> None:
    site.machine.sh(f"chown root:root {STATE}/main.orders.db; chmod 600 {STATE}/main.orders.db")


def damage_the_journal(site: Site) -> None:
    site.stop_bridge()
    site.machine.sh(f"printf 'half of a database' | dd of={STATE}/main.orders.db conv=notrunc status=none")
    site.machine.run("systemctl", "start", "ibkr-bridge.service")
    site.machine.wait_until_ready()
    place_an_order(site)


MAKERS: dict[str, Callable[[Site], None]] = {
    "The Gateway is down": stop_the_gateway,
    "The Gateway is stuck": fill_the_slots,
    "IBKR is down": lambda site: site.trigger("ibkr-down"),
    "Access Denied": lambda site: site.trigger("denied"),
    "Nobody is signed in": lambda site: site.trigger("sso-lost"),
    "The brokerage session is lost": lose_the_brokerage_session,
    "The session flaps": lose_it_three_times,
    "Another login competes": lambda site: site.trigger("competing-stays"),
    "The session is unusable": refuse_brokerage_calls,
    "Penalty box": call_too_often,
    "Maintenance of IBKR": lambda site: site.trigger("maintenance"),
    "Trading is paused": pause_trading,
    "An order without an answer": lose_the_answer_to_an_order,
    "The stream is down": cut_the_stream,
    "The clock is wrong": set_the_clock_of_ibkr_ahead,
    "A reload was refused": reload_a_short_key,
    "Changed settings without a restart": reload_another_mode,
    "The settings cannot be used": restart_with_a_short_key,
    "A misspelt setting": restart_with_a_misspelt_setting,
    "The port is taken": take_the_port,
    "An app has a wrong key": call_with_a_former_key,
    "The disk is full": fill_the_disk,
    "State or journal of another user": give_the_journal_to_root,
    "The journal is damaged": damage_the_journal,
}
