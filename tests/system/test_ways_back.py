"""Whatever ends an installation too early, what ran before runs again; and settings mean what they say."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from ibkr_bridge.config.sources import lines_systemd_reads_differently, read_dotenv
from tests.system.machine import OFFLINE, Machine
from tests.system.test_other_ways import KEY, OLD_BRIDGE, OLD_SETTINGS, OLD_UNIT

HOME, UNITS, CREDENTIALS = "/opt/ibkr-bridge", "/etc/systemd/system", "/etc/ibkr-bridge/credentials"
AFTER_A_CHANGE = (
    "systemctl daemon-reload; systemctl stop ibkr-bridge.socket ibkr-bridge.service; systemctl start ibkr-bridge"
)
ELSEWHERE, CALLER = "10.9.9.2", "10.9.9.3"
WAYS_TO_START_IT = (
    "WorkingDirectory=/opt/ibkr-bridge\nExecStart=/usr/bin/env python3 bridge.py",
    "WorkingDirectory=/opt/ibkr-bridge/\nExecStart = /usr/bin/python3 ./bridge.py",
    "WorkingDirectory=/opt/ibkr-bridge\nExecStart=/usr/bin/python3 bridge.py serve",
    "ExecStart=/bin/sh -c 'cd /opt/ibkr-bridge; exec python3 bridge.py'",
    "ExecStart=/opt/ibkr-bridge/venv/bin/python -u /opt/ibkr-bridge/bridge.py",
)
OTHERS = (
    "WorkingDirectory=/srv/other\nExecStart=/usr/bin/python3 bridge.py",
    "WorkingDirectory=/opt/ibkr-bridge\nExecStart=/usr/bin/python3 report.py",
)
VALUES = (
    "x",
    "a b",
    " x ",
    '"a b"',
    "'a b'",
    "a#b",
    "a #b",
    "#a",
    "a\\b",
    '"a\\"b"',
    "$HOME",
    "a'b",
    "a;b",
    '"a" b',
    "",
)
NAMES = (
    "IBKR_{}=",
    " IBKR_{}=",
    "\tIBKR_{}= ",
    "export IBKR_{}=",
    "IBKR_{} =",
    "IBKR-{}=",
    "\ufeffIBKR_{}=",
    "#IBKR_{}=",
)


def start_old_setup(machine: Machine) -> None:
    """A bridge of earlier days, at work."""
    machine.write(f"{UNITS}/my-bridge.service", OLD_UNIT)
    machine.write(f"{HOME}/bridge.py", OLD_BRIDGE)
    machine.write(f"{HOME}/.env", OLD_SETTINGS, 0o600)
    machine.run("systemctl", "enable", "--now", "my-bridge.service")


def old_setup_works(machine: Machine) -> bool:
    """All of it."""
    return (
        machine.shown("ActiveState", "my-bridge.service") == "active"
        and machine.sh("systemctl is-enabled my-bridge", check=False).strip() == "enabled"
        and machine.read(f"{HOME}/bridge.py") == OLD_BRIDGE
    )


@pytest.mark.parametrize(("unit", "retired"), [*((u, True) for u in WAYS_TO_START_IT), *((u, False) for u in OTHERS)])
def test_an_old_unit_is_known_however_it_is_written(machine: Machine, unit: str, retired: bool) -> None:
    """And what only looks like one is not touched."""
    machine.write(f"{UNITS}/some.service", f"[Service]\n{unit}\n")

    said = machine.install("--dry-run").stdout
    machine.sh(f"rm {UNITS}/some.service")

    assert ("Removing" in said) is retired


def test_a_template_of_earlier_days_is_left_to_its_owner(machine: Machine) -> None:
    """Which of its instances there are, only they know."""
    machine.write(f"{UNITS}/bridge@.service", f"[Service]\n{WAYS_TO_START_IT[0]}\n")

    said = machine.install(check=False).stderr
    machine.sh(f"rm {UNITS}/bridge@.service")

    assert "bridge@.service runs a bridge that this script did not install" in said


def test_a_step_that_fails_gives_the_old_setup_back(machine: Machine) -> None:
    """A directory that cannot be written, after the old one was stopped."""
    start_old_setup(machine)
    machine.sh("mount --bind /usr/local/bin /usr/local/bin && mount -o remount,ro,bind /usr/local/bin")

    failed = machine.install(check=False)
    machine.sh("umount /usr/local/bin")

    assert (failed.returncode, "what ran before runs as before" in failed.stderr) == (1, True)
    assert old_setup_works(machine)


def test_a_takeover_that_was_killed_is_remembered(machine: Machine) -> None:
    """`kill -9` when the old one has just been stopped; the second run fails, and knows what to put back."""
    machine.write("/srv/deadly/ln", "#!/bin/sh\nkill -9 $PPID\n", 0o755)
    machine.run("/bin/sh", "-c", "PATH=/srv/deadly:$PATH /bin/sh /src/deploy/install.sh", check=False, **OFFLINE)
    stopped = machine.shown("ActiveState", "my-bridge.service")
    broken = machine.source / "ibkr_bridge/cli/serve.py"
    text = broken.read_text()
    broken.write_text(text + "\nraise SystemExit(3)\n")

    failed = machine.install(check=False)
    broken.write_text(text)

    assert (stopped, failed.returncode) == ("inactive", 1)
    assert old_setup_works(machine)


def test_what_bound_the_old_unit_does_not_bind_the_new_one(machine: Machine) -> None:
    """Its drop-ins are put aside with it; one of a name of ours too."""
    machine.write(f"{UNITS}/ibkr-bridge.service.d/override.conf", "[Service]\nUser=root\n")
    machine.sh(
        f"systemctl disable --now my-bridge; mv {UNITS}/my-bridge.service {UNITS}/ibkr-bridge.service;"
        "systemctl daemon-reload; systemctl enable --now ibkr-bridge"
    )
    machine.run("systemctl", "enable", "--now", "--no-block", "gateway.service")

    machine.install()
    machine.until_ready()

    assert machine.shown("User") == "ibkr-bridge"
    assert machine.keyed("/portfolio/accounts", KEY).endswith("\n200")
    assert "User=root" in machine.sh(f"cat {HOME}/before/*/ibkr-bridge.service.d/override.conf")


def test_an_upgrade_that_is_interrupted_goes_back(machine: Machine) -> None:
    """Ctrl-C while a version that hangs is being started."""
    before = machine.sh(f"readlink {HOME}/current")
    hanging = machine.source / "ibkr_bridge/cli/serve.py"
    text = hanging.read_text()
    hanging.write_text(text + "\nimport time\ntime.sleep(600)\n")

    command = "trap - INT; exec timeout -s INT 12 /bin/sh /src/deploy/install.sh --upgrade"
    machine.run("/bin/sh", "-c", command, check=False, **OFFLINE)
    hanging.write_text(text)
    machine.until_ready()

    assert machine.sh(f"readlink {HOME}/current") == before


@pytest.mark.parametrize("line", ["\ufeffIBKR_BRIDGE_KEY={}", "IBKR_BRIDGE_KEY={} # mine", "IBKR-BRIDGE-KEY={}"])
def test_a_line_systemd_reads_differently_is_refused(machine: Machine, line: str) -> None:
    """Before anything is changed, and by a restart too: a brake nobody hears is worse than no bridge."""
    before, running = machine.read(f"{HOME}/.env"), machine.shown("MainPID")
    machine.write(f"{HOME}/.env", line.format(KEY) + "\n", 0o600)

    refused = machine.install(check=False)
    still = machine.shown("MainPID")
    machine.run("systemctl", "restart", "ibkr-bridge", check=False)
    status = machine.shown("ExecMainStatus")
    machine.write(f"{HOME}/.env", before, 0o600)
    machine.run("systemctl", "restart", "ibkr-bridge")

    assert (refused.returncode, "nothing was changed" in refused.stderr) == (1, True)
    assert (still, status) == (running, "78")
    assert KEY not in refused.stderr + refused.stdout
    assert machine.run("test", "-e", CREDENTIALS, check=False).returncode == 1


def test_what_is_accepted_is_read_alike(machine: Machine, tmp_path: Path) -> None:
    """Many ways to write a line: those that pass mean the same to systemd and to us."""
    ways = [f"{name.format(f'X{n}')}{value}" for n, (name, value) in enumerate(itertools.product(NAMES, VALUES))]
    each = tmp_path / "each"
    accepted = []
    for way in ways:
        each.write_text(way)
        if not lines_systemd_reads_differently(each):
            accepted.append(way)
    each.write_text("\n".join(accepted))
    machine.write("/srv/settings", each.read_text())

    told = machine.run("systemd-run", "--wait", "--pipe", "-q", "-p", "EnvironmentFile=/srv/settings", "/usr/bin/env")

    theirs = dict(line.split("=", 1) for line in told.stdout.splitlines() if line.startswith("IBKR"))
    assert theirs == read_dotenv(each, [])
    assert len(accepted) > len(ways) // 4


def test_settings_are_roots_alone(machine: Machine) -> None:
    """A `.env` the bridge's own user writes where it may is no setting."""
    machine.write("/var/lib/ibkr-bridge/.env", "IBKR_TRADING_MODE=live\n")
    machine.sh("ln -sf /srv/precious /var/lib/ibkr-bridge/.probe; echo precious > /srv/precious")

    machine.run("systemctl", "restart", "ibkr-bridge")
    by_hand = machine.run("ibkr-bridge", check=False)

    assert "X-Bridge-Mode: paper" in machine.run("curl", "-si", "http://127.0.0.1:8000/health").stdout
    assert (by_hand.returncode, "systemctl start" in by_hand.stderr) == (2, True)
    assert machine.read("/srv/precious") == "precious\n"


def test_nothing_outside_the_state_can_be_written(machine: Machine) -> None:
    """Tried from inside, where the bridge is."""
    inside = f"nsenter -t {machine.shown('MainPID')} -m setpriv --reuid=ibkr-bridge --clear-groups"
    places = ("/tmp", "/run/lock", "/dev/shm", "/var/lock", "/opt/ibkr-bridge", "/etc")  # noqa: S108

    for place in places:
        machine.sh(f"{inside} sh -c 'echo x > {place}/written' 2>/dev/null", check=False)

    assert machine.sh("find /run /dev /opt /etc /tmp -xdev -name written -not -path '*/systemd-private-*'") == ""
    assert machine.run("sh", "-c", f"{inside} test -S /run/dbus/system_bus_socket", check=False).returncode != 0


def test_another_address_on_the_same_port_is_taken_and_left(machine: Machine) -> None:
    """As for a tunnel; and there only those come in whom the socket's own lines allow."""
    for address in (ELSEWHERE, CALLER):
        machine.outside("ip", "addr", "add", f"{address}/32", "dev", "lo")
    before = machine.read(f"{HOME}/.env")
    remote = f"IBKR_BRIDGE_URL=http://{ELSEWHERE}:8000\nIBKR_BRIDGE_ALLOW_REMOTE=yes\n"
    machine.write(f"{HOME}/.env", f"{remote}IBKR_BRIDGE_KEY={KEY}\n", 0o600)
    called = ("curl", "-s", "-m", "2", "--interface", CALLER, f"http://{ELSEWHERE}:8000/health")

    machine.install()
    refused = machine.run(*called, check=False).stdout
    machine.write(f"{UNITS}/ibkr-bridge.socket.d/callers.conf", f"[Socket]\nIPAddressAllow={CALLER}\n")
    machine.sh(AFTER_A_CHANGE)
    answered = machine.run(*called, check=False).stdout
    machine.write(f"{HOME}/.env", before, 0o600)
    machine.install()

    assert refused == ""
    assert answered == '{"status":"ok","bridge":"running"}'
    assert machine.curl("/health").endswith("\n200")
    assert machine.run(*called, check=False).stdout == ""


def test_a_key_the_operator_keeps_elsewhere_is_enough(machine: Machine) -> None:
    """By a drop-in of one's own; no second one is made."""
    machine.write("/root/secret/key", KEY, 0o600)
    load = "[Service]\nLoadCredential=IBKR_BRIDGE_KEY:/root/secret/key\n"
    machine.write(f"{UNITS}/ibkr-bridge.service.d/override.conf", load)
    machine.write(f"{HOME}/.env", "# the key is elsewhere\n", 0o600)
    machine.sh("systemctl daemon-reload; systemctl restart ibkr-bridge")

    machine.install()
    machine.run("systemctl", "reload", "ibkr-bridge")

    assert machine.keyed("/portfolio/accounts", KEY).endswith("\n200")
    assert machine.run("test", "-e", CREDENTIALS, check=False).returncode == 1


def test_a_failed_reload_leaves_no_copy_of_a_key(machine: Machine) -> None:
    """A credential that cannot be decrypted; the bridge goes on with what it has."""
    machine.write(f"{CREDENTIALS}.encrypted/IBKR_BRIDGE_KEY", "junk", 0o600)

    failed = machine.run("systemctl", "reload", "ibkr-bridge", check=False)
    machine.sh(f"rm -r {CREDENTIALS}.encrypted")

    assert failed.returncode != 0
    assert machine.run("test", "-e", "/run/ibkr-bridge-reload.new", check=False).returncode == 1
    assert machine.keyed("/portfolio/accounts", KEY).endswith("\n200")


def test_a_console_log_has_priorities_too(machine: Machine) -> None:
    """Where the operator wants lines for the eye and the journal's own socket is gone."""
    # on Saturday evening in New York a lost session is no warning
    machine.write(f"{HOME}/.env", "IBKR_BRIDGE_LOG_FORMAT=console\nIBKR_BRIDGE_MAINTENANCE=none\n", 0o600)
    machine.run("systemctl", "restart", "ibkr-bridge")
    machine.until_ready()
    machine.run("systemctl", "stop", "gateway.service")
    machine.until(lambda: '"authenticated": false' in machine.curl("/gateway/auth-status"), "it is still there")
    machine.run("systemctl", "start", "gateway.service")

    assert "session.lost" in machine.run("journalctl", "-u", "ibkr-bridge", "-p", "warning", "--no-pager").stdout


def test_it_works_where_opt_is_a_link_and_without_sbin(machine: Machine) -> None:
    """A second run changes nothing there, and what cannot be found in PATH is found."""
    machine.install("--uninstall")
    machine.sh("mv /opt /srv/opt; ln -s /srv/opt /opt")

    for _ in range(2):
        said = machine.run("/bin/sh", "-c", "PATH=/usr/bin:/bin; CDPATH=/srv; cd /src; sh deploy/install.sh", **OFFLINE)  # type: ignore[arg-type]
    machine.until_ready()
    machine.install("--uninstall")

    assert "runs already" in said.stdout
    assert machine.sh("stat -c %U /var/lib/ibkr-bridge").strip() == "root"
    assert machine.sh("ls -d /run/ibkr* 2>/dev/null", check=False) == ""
