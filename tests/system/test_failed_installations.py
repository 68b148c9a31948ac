"""Installations that fail: each prints a clear error, and a second run completes what the first one left unfinished."""

from __future__ import annotations

from tests.system.machine import OFFLINE_ENV, Machine

HOME = "/opt/ibkr-bridge"
ENSUREPIP = "/usr/lib/python3.11/ensurepip"
PORT_USER = "import socket, time; server = socket.create_server(('127.0.0.1', 8000)); time.sleep(3600)"


def releases(machine: Machine) -> list[str]:
    """The directories of all releases, complete or not."""
    return machine.sh(f"ls {HOME}/releases 2>/dev/null", check=False).split()


def test_a_dry_run_on_an_empty_machine_does_nothing(machine: Machine) -> None:
    """It prints one step in each line, so that a person can read it."""
    machine.sh("touch /tmp/mark")

    output = [machine.install("--dry-run").stdout, machine.install("--uninstall", "--dry-run").stdout]

    assert all(line.startswith(("would run: ", "Building ", "Making ")) for line in "".join(output).splitlines())
    assert "would run: write_settings" in output[0]
    assert machine.sh("find / -xdev -newer /tmp/mark -iname '*ibkr*' -not -path '/proc/*'") == ""


def test_an_upgrade_without_an_installed_bridge_is_refused(machine: Machine) -> None:
    """`--upgrade` must not install a bridge on a machine that was chosen by mistake."""
    refused = machine.install("--upgrade", check=False)

    assert (refused.returncode, "not installed here" in refused.stderr) == (1, True)


def test_a_missing_requirement_is_named(machine: Machine) -> None:
    """The requirements are Python, a new enough version, its venv, and root. Nothing is created before the check."""
    machine.write("/usr/local/bin/python3.9", '#!/bin/sh\n[ "$1" = -V ] && echo Python 3.9.1\nexit 1\n', 0o755)
    absent = machine.run("/bin/sh", "/src/deploy/install.sh", check=False, PYTHON="python9")
    old = machine.run("/bin/sh", "/src/deploy/install.sh", check=False, PYTHON="python3.9")
    machine.sh(f"mv {ENSUREPIP} {ENSUREPIP}.away")
    no_venv = machine.install(check=False)
    machine.sh(f"mv {ENSUREPIP}.away {ENSUREPIP}")
    machine.sh("install -D -m 644 /src/deploy/install.sh /srv/deploy/install.sh")
    without_root = machine.run("setpriv", "--reuid=65534", "/bin/sh", "/srv/deploy/install.sh", check=False)

    assert [done.returncode for done in (absent, old, no_venv, without_root)] == [1, 1, 1, 1]
    assert "apt install python3 python3-venv" in absent.stderr
    assert "Python 3.11 or later is needed, python3.9 is Python 3.9.1" in old.stderr
    assert "apt install python3-venv" in no_venv.stderr
    assert "as root" in without_root.stderr
    assert releases(machine) == []


def test_a_failed_build_leaves_no_release(machine: Machine) -> None:
    """The build fails on a full disk, and on a machine that cannot download the packages."""
    machine.sh(f"mkdir {HOME} && mount -t tmpfs -o size=2M tmpfs {HOME}")
    full = machine.install(check=False)
    releases_left = releases(machine)
    machine.sh(f"umount {HOME}")
    no_packages = machine.run("/bin/sh", "/src/deploy/install.sh", check=False, PIP_RETRIES="0", PIP_TIMEOUT="1")

    assert (full.returncode, no_packages.returncode) == (1, 1)
    assert "MB are free" in full.stderr
    assert full.stderr.endswith("nothing was changed\n")
    assert no_packages.stderr.endswith("nothing was changed\n")
    assert (releases_left, releases(machine)) == ([], [])


def test_a_checkout_in_the_directory_of_the_service_is_refused(machine: Machine) -> None:
    """The installer builds the bridge in this directory, and would overwrite the files of the checkout."""
    machine.sh(f"cp -r /src/. {HOME}/")

    refused = machine.run("/bin/sh", f"{HOME}/deploy/install.sh", check=False)
    machine.sh(f"rm -rf {HOME}")

    assert "clone it elsewhere" in refused.stderr


def test_a_second_installer_at_the_same_time_is_refused(machine: Machine) -> None:
    """Both would build into the same directory."""
    second = machine.run(
        *("flock", "/run/ibkr-bridge-install.lock", "/bin/sh", "/src/deploy/install.sh"), check=False, **OFFLINE_ENV
    )

    assert (second.returncode, "another install.sh is running" in second.stderr) == (1, True)


def test_a_port_in_use_is_reported_and_the_installation_is_undone(machine: Machine) -> None:
    """Another program listens on port 8000, so the bridge cannot start."""
    machine.run("systemd-run", "--unit=port-user", "/usr/bin/python3", "-c", PORT_USER)
    machine.wait_until(lambda: ":8000" in machine.sh("ss -ltn"), "the other program does not listen")

    failed = machine.install(check=False)
    machine.run("systemctl", "stop", "port-user")

    assert failed.returncode == 1
    assert "Address already in use" in failed.stderr
    assert "what ran before runs as before" in failed.stderr
    assert machine.unit_property("LoadState") == "not-found"


def test_a_build_that_was_killed_is_repeated(machine: Machine) -> None:
    """After `kill -9` the release is incomplete, and the second run must not use it as it is."""
    machine.sh(f"rm -rf {HOME}/releases")
    environment = [f"--setenv={name}={value}" for name, value in OFFLINE_ENV.items()]
    machine.run("systemd-run", "--unit=installing", *environment, "/bin/sh", "/src/deploy/install.sh")
    machine.wait_until(
        lambda: "bridge.py" in machine.sh(f"ls {HOME}/releases/*", check=False), "the build does not start"
    )
    machine.run("systemctl", "kill", "-s", "KILL", "installing")
    machine.wait_until(
        lambda: machine.unit_property("ActiveState", "installing.service") != "active", "the installer was not killed"
    )
    (release,) = releases(machine)
    files_after_kill = machine.sh(f"ls -A {HOME}/releases/{release}").split()

    machine.run("systemctl", "enable", "--now", "--no-block", "gateway.service")
    machine.install()
    machine.wait_until_ready()

    assert ".whole" not in files_after_kill
    assert releases(machine) == [release]


def test_a_switch_to_a_release_that_was_killed_is_finished(machine: Machine) -> None:
    """The new release is the current one, but the old one still runs. The second run starts the new one."""
    before = machine.unit_property("MainPID")
    machine.sh(f"rm {HOME}/started")

    machine.install()

    assert machine.unit_property("MainPID") != before
    assert machine.curl("/health").endswith("\n200")


def test_only_root_can_change_the_files_that_root_runs(machine: Machine) -> None:
    """This holds if another user owns the directory or the checkout, and with any umask."""
    machine.sh(f"chown 1000 {HOME} {HOME}/releases; chmod 777 {HOME}")
    machine.sh("cp -r /src /srv/theirs; chown -R 1000 /srv/theirs; echo >> /srv/theirs/LICENSE")

    machine.run("/bin/sh", "-c", "umask 007; cd /; sh /srv/theirs/deploy/install.sh", check=True, **OFFLINE_ENV)

    places = f"{HOME} /usr/local/bin/ibkr-bridge /etc/systemd/system"
    others = f"find {places} -not -type l \\( -not -user root -o -perm /022 \\)"
    unreadable = f"find {HOME}/releases -not -type l -not -perm -004"
    assert machine.sh(others) == ""
    assert machine.sh(unreadable) == ""
    assert machine.curl("/health").endswith("\n200")


def test_an_ipv6_address_without_a_port_is_accepted(machine: Machine) -> None:
    """The installer reads the setting in the same way as the bridge."""
    settings, key = machine.read(f"{HOME}/.env"), machine.key
    machine.write(f"{HOME}/.env", f"IBKR_BRIDGE_URL=http://[::1]\nIBKR_BRIDGE_KEY={key}\n", 0o600)

    output = machine.install().stdout
    response = machine.run("curl", "-s", "-m", "5", "http://[::1]:8000/health").stdout
    machine.write(f"{HOME}/.env", settings, 0o600)
    machine.install()

    assert "http://[::1]:8000/health" in output
    assert response == '{"status":"ok","bridge":"running"}'
    assert machine.curl("/health").endswith("\n200")


def test_the_command_line_finds_a_key_in_a_credential(machine: Machine) -> None:
    """`status` and `doctor` need the same key as the service, and must not print it."""
    key = machine.key
    machine.sh(f"sed -i '/^IBKR_BRIDGE_KEY=/d' {HOME}/.env")
    machine.write("/etc/ibkr-bridge/credentials/IBKR_BRIDGE_KEY", key, 0o600)
    machine.sh(
        f"install -D -m 644 {HOME}/current/deploy/systemd/examples/credential.conf"
        " /etc/systemd/system/ibkr-bridge.service.d/credential.conf; systemctl daemon-reload;"
        " systemctl restart ibkr-bridge"
    )
    machine.wait_until_ready()

    doctor = machine.run("ibkr-bridge", "doctor", check=False)
    status = machine.run("ibkr-bridge", "status", check=False)

    assert (doctor.returncode, status.returncode) == (0, 0), doctor.stdout + status.stdout
    assert key not in doctor.stdout + doctor.stderr + status.stdout + status.stderr


def test_a_removed_key_stays_invalid(machine: Machine) -> None:
    """A reload after the restart must not accept the old key again."""
    keys = "/etc/ibkr-bridge/credentials"
    old = machine.read(f"{keys}/IBKR_BRIDGE_KEY").strip()
    machine.write(f"{keys}/IBKR_BRIDGE_KEY", old[::-1], 0o600)

    machine.run("systemctl", "restart", "ibkr-bridge")
    machine.wait_until_ready()
    machine.run("systemctl", "kill", "-s", "HUP", "ibkr-bridge")
    machine.run("systemctl", "reload", "ibkr-bridge")

    assert machine.curl_with_key("/portfolio/accounts", old).endswith("\n401")
    assert machine.curl_with_key("/portfolio/accounts", old[::-1]).endswith("\n200")


def test_a_blocked_systemd_journal_does_not_block_calls(machine: Machine) -> None:
    """journald is stopped until its socket is full. Calls are answered, and the watchdog does not end the bridge."""
    before = machine.unit_property("MainPID")
    machine.run("systemctl", "kill", "--kill-who=main", "-s", "STOP", "systemd-journald.service")

    statuses = [machine.curl("/health", "-A", "x" * 3000).rpartition("\n")[2] for _ in range(300)]
    machine.run("systemctl", "kill", "--kill-who=main", "-s", "CONT", "systemd-journald.service")

    assert set(statuses) == {"200"}
    assert machine.unit_property("MainPID") == before


def test_a_unit_of_the_same_name_is_moved_aside(machine: Machine) -> None:
    """A unit called ibkr-bridge.service may come from the user; it is replaced, but a copy is kept."""
    unit = "[Service]\nExecStart=/bin/sh -c 'exec sleep infinity'\n"
    machine.install("--uninstall", "--purge")
    machine.write("/etc/systemd/system/ibkr-bridge.service", unit)

    machine.install()

    assert machine.sh(f"cat {HOME}/before/*/ibkr-bridge.service") == unit
    assert machine.sh(f"stat -c '%a %U' {HOME}/before/*").split() == ["700", "root"]
