"""Interrupted installations, after which the earlier bridge runs again, and settings that systemd reads differently."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from ibkr_bridge.config.sources import lines_systemd_reads_differently, read_dotenv
from tests.system.machine import OFFLINE_ENV, Machine
from tests.system.test_other_setups import KEY, OLD_BRIDGE, OLD_SETTINGS, OLD_UNIT

HOME, UNITS, CREDENTIALS = "/opt/ibkr-bridge", "/etc/systemd/system", "/etc/ibkr-bridge/credentials"
RESTART_WITH_SOCKET = (
    "systemctl daemon-reload; systemctl stop ibkr-bridge.socket ibkr-bridge.service; systemctl start ibkr-bridge"
)
ELSEWHERE, CALLER = "10.9.9.2", "10.9.9.3"
OLD_UNIT_LINES = (
    "WorkingDirectory=/opt/ibkr-bridge\nExecStart=/usr/bin/env python3 bridge.py",
    "WorkingDirectory=/opt/ibkr-bridge/\nExecStart = /usr/bin/python3 ./bridge.py",
    "WorkingDirectory=/opt/ibkr-bridge\nExecStart=/usr/bin/python3 bridge.py serve",
    "ExecStart=/bin/sh -c 'cd /opt/ibkr-bridge; exec python3 bridge.py'",
    "ExecStart=/opt/ibkr-bridge/venv/bin/python -u /opt/ibkr-bridge/bridge.py",
)
OTHER_UNIT_LINES = (
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
    """Start a bridge that was set up without the installer."""
    machine.write(f"{UNITS}/my-bridge.service", OLD_UNIT)
    machine.write(f"{HOME}/bridge.py", OLD_BRIDGE)
    machine.write(f"{HOME}/.env", OLD_SETTINGS, 0o600)
    machine.run("systemctl", "enable", "--now", "my-bridge.service")


def is_old_setup_running(machine: Machine) -> bool:
    """Whether its service is active and enabled, and its program is unchanged."""
    return (
        machine.unit_property("ActiveState", "my-bridge.service") == "active"
        and machine.sh("systemctl is-enabled my-bridge", check=False).strip() == "enabled"
        and machine.read(f"{HOME}/bridge.py") == OLD_BRIDGE
    )


@pytest.mark.parametrize(
    ("unit", "is_removed"), [*((u, True) for u in OLD_UNIT_LINES), *((u, False) for u in OTHER_UNIT_LINES)]
)
def test_a_unit_that_runs_an_old_bridge_is_recognised(machine: Machine, unit: str, is_removed: bool) -> None:
    """Users wrote such units in many forms. A unit that only looks similar must not be removed."""
    machine.write(f"{UNITS}/some.service", f"[Service]\n{unit}\n")

    output = machine.install("--dry-run").stdout
    machine.sh(f"rm {UNITS}/some.service")

    assert ("Removing" in output) is is_removed


def test_an_old_template_unit_is_reported_and_left_unchanged(machine: Machine) -> None:
    """The installer cannot know which instances of the template are in use."""
    machine.write(f"{UNITS}/bridge@.service", f"[Service]\n{OLD_UNIT_LINES[0]}\n")

    output = machine.install(check=False).stderr
    machine.sh(f"rm {UNITS}/bridge@.service")

    assert "bridge@.service runs a bridge that this script did not install" in output


def test_after_a_failed_step_the_old_setup_runs_again(machine: Machine) -> None:
    """The old bridge was stopped already when a directory turns out to be read-only."""
    start_old_setup(machine)
    machine.sh("mount --bind /usr/local/bin /usr/local/bin && mount -o remount,ro,bind /usr/local/bin")

    failed = machine.install(check=False)
    machine.sh("umount /usr/local/bin")

    assert (failed.returncode, "what ran before runs as before" in failed.stderr) == (1, True)
    assert is_old_setup_running(machine)


def test_a_second_run_can_restore_the_old_setup_after_the_first_was_killed(machine: Machine) -> None:
    """The first run is killed just after it stopped the old bridge. The second one fails, and starts it again."""
    machine.write("/srv/deadly/ln", "#!/bin/sh\nkill -9 $PPID\n", 0o755)
    machine.run("/bin/sh", "-c", "PATH=/srv/deadly:$PATH /bin/sh /src/deploy/install.sh", check=False, **OFFLINE_ENV)
    state_after_kill = machine.unit_property("ActiveState", "my-bridge.service")
    broken = machine.source / "ibkr_bridge/cli/serve.py"
    text = broken.read_text()
    broken.write_text(text + "\nraise SystemExit(3)\n")

    failed = machine.install(check=False)
    broken.write_text(text)

    assert (state_after_kill, failed.returncode) == ("inactive", 1)
    assert is_old_setup_running(machine)


def test_drop_ins_of_the_old_unit_do_not_change_the_new_one(machine: Machine) -> None:
    """They are moved aside with the old unit, even if it has the name of the new one."""
    machine.write(f"{UNITS}/ibkr-bridge.service.d/override.conf", "[Service]\nUser=root\n")
    machine.sh(
        f"systemctl disable --now my-bridge; mv {UNITS}/my-bridge.service {UNITS}/ibkr-bridge.service;"
        "systemctl daemon-reload; systemctl enable --now ibkr-bridge"
    )
    machine.run("systemctl", "enable", "--now", "--no-block", "gateway.service")

    machine.install()
    machine.wait_until_ready()

    assert machine.unit_property("User") == "ibkr-bridge"
    assert machine.curl_with_key("/portfolio/accounts", KEY).endswith("\n200")
    assert "User=root" in machine.sh(f"cat {HOME}/before/*/ibkr-bridge.service.d/override.conf")


def test_after_an_interrupted_upgrade_the_old_version_runs_again(machine: Machine) -> None:
    """A person presses Ctrl-C while the new version hangs at its start."""
    before = machine.sh(f"readlink {HOME}/current")
    hanging = machine.source / "ibkr_bridge/cli/serve.py"
    text = hanging.read_text()
    hanging.write_text(text + "\nimport time\ntime.sleep(600)\n")

    command = "trap - INT; exec timeout -s INT 12 /bin/sh /src/deploy/install.sh --upgrade"
    machine.run("/bin/sh", "-c", command, check=False, **OFFLINE_ENV)
    hanging.write_text(text)
    machine.wait_until_ready()

    assert machine.sh(f"readlink {HOME}/current") == before


@pytest.mark.parametrize("line", ["\ufeffIBKR_BRIDGE_KEY={}", "IBKR_BRIDGE_KEY={} # mine", "IBKR-BRIDGE-KEY={}"])
def test_a_line_systemd_reads_differently_is_refused(machine: Machine, line: str) -> None:
    """The installer and the start refuse it. Otherwise a limit in this line would be ignored without a warning."""
    before, running = machine.read(f"{HOME}/.env"), machine.unit_property("MainPID")
    machine.write(f"{HOME}/.env", line.format(KEY) + "\n", 0o600)

    refused = machine.install(check=False)
    after_install = machine.unit_property("MainPID")
    machine.run("systemctl", "restart", "ibkr-bridge", check=False)
    status = machine.unit_property("ExecMainStatus")
    machine.write(f"{HOME}/.env", before, 0o600)
    machine.run("systemctl", "restart", "ibkr-bridge")

    assert (refused.returncode, "nothing was changed" in refused.stderr) == (1, True)
    assert (after_install, status) == (running, "78")
    assert KEY not in refused.stderr + refused.stdout
    assert machine.run("test", "-e", CREDENTIALS, check=False).returncode == 1


def test_the_bridge_and_systemd_read_accepted_lines_in_the_same_way(machine: Machine, tmp_path: Path) -> None:
    """The service and the command line must have the same settings, however a line is written."""
    lines = [f"{name.format(f'X{n}')}{value}" for n, (name, value) in enumerate(itertools.product(NAMES, VALUES))]
    dotenv = tmp_path / "dotenv"
    accepted = []
    for line in lines:
        dotenv.write_text(line)
        if not lines_systemd_reads_differently(dotenv):
            accepted.append(line)
    dotenv.write_text("\n".join(accepted))
    machine.write("/srv/settings", dotenv.read_text())

    environment = machine.run(
        "systemd-run", "--wait", "--pipe", "-q", "-p", "EnvironmentFile=/srv/settings", "/usr/bin/env"
    )

    settings = dict(line.split("=", 1) for line in environment.stdout.splitlines() if line.startswith("IBKR"))
    assert settings == read_dotenv(dotenv, [])
    assert len(accepted) > len(lines) // 4


def test_only_root_can_change_the_settings(machine: Machine) -> None:
    """The user of the bridge can write a `.env` into the state directory, and the bridge must ignore it."""
    machine.write("/var/lib/ibkr-bridge/.env", "IBKR_TRADING_MODE=live\n")
    machine.sh("ln -sf /srv/precious /var/lib/ibkr-bridge/.probe; echo precious > /srv/precious")

    machine.run("systemctl", "restart", "ibkr-bridge")
    by_hand = machine.run("ibkr-bridge", check=False)

    assert "X-Bridge-Mode: paper" in machine.run("curl", "-si", "http://127.0.0.1:8000/health").stdout
    assert (by_hand.returncode, "systemctl start" in by_hand.stderr) == (2, True)
    assert machine.read("/srv/precious") == "precious\n"


def test_nothing_outside_the_state_can_be_written(machine: Machine) -> None:
    """The test tries it as the user of the bridge, in the file system that the bridge sees."""
    inside = f"nsenter -t {machine.unit_property('MainPID')} -m setpriv --reuid=ibkr-bridge --clear-groups"
    places = ("/tmp", "/run/lock", "/dev/shm", "/var/lock", "/opt/ibkr-bridge", "/etc")  # noqa: S108

    for place in places:
        machine.sh(f"{inside} sh -c 'echo x > {place}/written' 2>/dev/null", check=False)

    assert machine.sh("find /run /dev /opt /etc /tmp -xdev -name written -not -path '*/systemd-private-*'") == ""
    assert machine.run("sh", "-c", f"{inside} test -S /run/dbus/system_bus_socket", check=False).returncode != 0


def test_the_address_can_be_changed_and_changed_back(machine: Machine) -> None:
    """The other address may be that of a tunnel. Only clients that a drop-in of the socket unit allows can connect."""
    for address in (ELSEWHERE, CALLER):
        machine.run_from_host("ip", "addr", "add", f"{address}/32", "dev", "lo")
    before = machine.read(f"{HOME}/.env")
    remote = f"IBKR_BRIDGE_URL=http://{ELSEWHERE}:8000\nIBKR_BRIDGE_ALLOW_REMOTE=yes\n"
    machine.write(f"{HOME}/.env", f"{remote}IBKR_BRIDGE_KEY={KEY}\n", 0o600)
    command = ("curl", "-s", "-m", "2", "--interface", CALLER, f"http://{ELSEWHERE}:8000/health")

    machine.install()
    refused = machine.run(*command, check=False).stdout
    machine.write(f"{UNITS}/ibkr-bridge.socket.d/callers.conf", f"[Socket]\nIPAddressAllow={CALLER}\n")
    machine.sh(RESTART_WITH_SOCKET)
    response = machine.run(*command, check=False).stdout
    machine.write(f"{HOME}/.env", before, 0o600)
    machine.install()

    assert refused == ""
    assert response == '{"status":"ok","bridge":"running"}'
    assert machine.curl("/health").endswith("\n200")
    assert machine.run(*command, check=False).stdout == ""


def test_no_key_is_made_if_a_drop_in_loads_one(machine: Machine) -> None:
    """The operator stores the key in a file of their own."""
    machine.write("/root/secret/key", KEY, 0o600)
    load = "[Service]\nLoadCredential=IBKR_BRIDGE_KEY:/root/secret/key\n"
    machine.write(f"{UNITS}/ibkr-bridge.service.d/override.conf", load)
    machine.write(f"{HOME}/.env", "# the key is elsewhere\n", 0o600)
    machine.sh("systemctl daemon-reload; systemctl restart ibkr-bridge")

    machine.install()
    machine.run("systemctl", "reload", "ibkr-bridge")

    assert machine.curl_with_key("/portfolio/accounts", KEY).endswith("\n200")
    assert machine.run("test", "-e", CREDENTIALS, check=False).returncode == 1


def test_a_failed_reload_leaves_no_copy_of_a_key(machine: Machine) -> None:
    """The new credential cannot be decrypted. The bridge continues with the old key."""
    machine.write(f"{CREDENTIALS}.encrypted/IBKR_BRIDGE_KEY", "junk", 0o600)

    failed = machine.run("systemctl", "reload", "ibkr-bridge", check=False)
    machine.sh(f"rm -r {CREDENTIALS}.encrypted")

    assert failed.returncode != 0
    assert machine.run("test", "-e", "/run/ibkr-bridge-reload.new", check=False).returncode == 1
    assert machine.curl_with_key("/portfolio/accounts", KEY).endswith("\n200")


def test_a_console_log_has_priorities_too(machine: Machine) -> None:
    """`journalctl -p warning` must find events although the log is plain text."""
    # in a maintenance window, such as on Saturday evening in New York, a lost session is not logged as a warning
    machine.write(f"{HOME}/.env", "IBKR_BRIDGE_LOG_FORMAT=console\nIBKR_BRIDGE_MAINTENANCE=none\n", 0o600)
    machine.run("systemctl", "restart", "ibkr-bridge")
    machine.wait_until_ready()
    machine.run("systemctl", "stop", "gateway.service")
    machine.wait_until(
        lambda: '"authenticated": false' in machine.curl("/gateway/auth-status"), "the session is not lost"
    )
    machine.run("systemctl", "start", "gateway.service")

    assert "session.lost" in machine.run("journalctl", "-u", "ibkr-bridge", "-p", "warning", "--no-pager").stdout


def test_the_installer_works_with_a_linked_opt_and_a_short_path(machine: Machine) -> None:
    """The installer compares resolved paths, and finds the programs in sbin that are not in PATH."""
    machine.install("--uninstall")
    machine.sh("mv /opt /srv/opt; ln -s /srv/opt /opt")

    script = "PATH=/usr/bin:/bin; CDPATH=/srv; cd /src; sh deploy/install.sh"
    for _ in range(2):
        output = machine.run("/bin/sh", "-c", script, **OFFLINE_ENV)  # type: ignore[arg-type]
    machine.wait_until_ready()
    machine.install("--uninstall")

    assert "runs already" in output.stdout
    assert machine.sh("stat -c %U /var/lib/ibkr-bridge").strip() == "root"
    assert machine.sh("ls -d /run/ibkr* 2>/dev/null", check=False) == ""
