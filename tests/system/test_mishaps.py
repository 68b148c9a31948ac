"""What goes wrong on the way in: each time a clear word, and nothing half done that a second run would not mend."""

from __future__ import annotations

from tests.system.machine import OFFLINE, Machine

HOME = "/opt/ibkr-bridge"
ENSUREPIP = "/usr/lib/python3.11/ensurepip"
IN_THE_WAY = "import socket, time; door = socket.create_server(('127.0.0.1', 8000)); time.sleep(3600)"


def releases(machine: Machine) -> list[str]:
    """What lies there, whole or not."""
    return machine.sh(f"ls {HOME}/releases 2>/dev/null", check=False).split()


def test_a_dry_run_on_an_empty_machine_does_nothing(machine: Machine) -> None:
    """And is readable: one step in a line."""
    machine.sh("touch /tmp/mark")

    said = [machine.install("--dry-run").stdout, machine.install("--uninstall", "--dry-run").stdout]

    assert all(line.startswith(("would run: ", "Building ", "Making ")) for line in "".join(said).splitlines())
    assert "would run: write_settings" in said[0]
    assert machine.sh("find / -xdev -newer /tmp/mark -iname '*ibkr*' -not -path '/proc/*'") == ""


def test_an_upgrade_of_nothing_is_refused(machine: Machine) -> None:
    """`--upgrade` is for a bridge that is there."""
    refused = machine.install("--upgrade", check=False)

    assert (refused.returncode, "not installed here" in refused.stderr) == (1, True)


def test_what_is_missing_is_named(machine: Machine) -> None:
    """Python, a Python that is old enough, its venv, root: before anything is made."""
    machine.write("/usr/local/bin/python3.9", '#!/bin/sh\n[ "$1" = -V ] && echo Python 3.9.1\nexit 1\n', 0o755)
    absent = machine.run("/bin/sh", "/src/deploy/install.sh", check=False, PYTHON="python9")
    old = machine.run("/bin/sh", "/src/deploy/install.sh", check=False, PYTHON="python3.9")
    machine.sh(f"mv {ENSUREPIP} {ENSUREPIP}.away")
    no_venv = machine.install(check=False)
    machine.sh(f"mv {ENSUREPIP}.away {ENSUREPIP}")
    machine.sh("install -D -m 644 /src/deploy/install.sh /srv/deploy/install.sh")
    nobody = machine.run("setpriv", "--reuid=65534", "/bin/sh", "/srv/deploy/install.sh", check=False)

    assert [done.returncode for done in (absent, old, no_venv, nobody)] == [1, 1, 1, 1]
    assert "apt install python3 python3-venv" in absent.stderr
    assert "Python 3.11 or later is needed, python3.9 is Python 3.9.1" in old.stderr
    assert "apt install python3-venv" in no_venv.stderr
    assert "as root" in nobody.stderr
    assert releases(machine) == []


def test_a_full_disk_leaves_nothing_half_built(machine: Machine) -> None:
    """Nor does a machine without a way to the packages."""
    machine.sh(f"mkdir {HOME} && mount -t tmpfs -o size=2M tmpfs {HOME}")
    full = machine.install(check=False)
    left = releases(machine)
    machine.sh(f"umount {HOME}")
    alone = machine.run("/bin/sh", "/src/deploy/install.sh", check=False, PIP_RETRIES="0", PIP_TIMEOUT="1")

    assert (full.returncode, alone.returncode) == (1, 1)
    assert "MB are free" in full.stderr
    assert full.stderr.endswith("nothing was changed\n")
    assert alone.stderr.endswith("nothing was changed\n")
    assert (left, releases(machine)) == ([], [])


def test_the_place_of_the_service_is_no_checkout(machine: Machine) -> None:
    """The bridge is built there; a checkout in it would be in its own way."""
    machine.sh(f"cp -r /src/. {HOME}/")

    refused = machine.run("/bin/sh", f"{HOME}/deploy/install.sh", check=False)
    machine.sh(f"rm -rf {HOME}")

    assert "clone it elsewhere" in refused.stderr


def test_two_at_once_do_not_build_into_one_place(machine: Machine) -> None:
    """The second one says so, and ends."""
    held = machine.run(
        *("flock", "/run/ibkr-bridge-install.lock", "/bin/sh", "/src/deploy/install.sh"), check=False, **OFFLINE
    )

    assert (held.returncode, "another install.sh is running" in held.stderr) == (1, True)


def test_a_taken_port_is_told_and_leaves_all_as_it_was(machine: Machine) -> None:
    """Somebody else listens at 8000."""
    machine.run("systemd-run", "--unit=in-the-way", "/usr/bin/python3", "-c", IN_THE_WAY)
    machine.until(lambda: ":8000" in machine.sh("ss -ltn"), "nobody is in the way")

    failed = machine.install(check=False)
    machine.run("systemctl", "stop", "in-the-way")

    assert failed.returncode == 1
    assert "Address already in use" in failed.stderr
    assert "what ran before runs as before" in failed.stderr
    assert machine.shown("LoadState") == "not-found"


def test_a_build_that_was_killed_is_done_again(machine: Machine) -> None:
    """`kill -9` in the midst of it; the second run does not take the rest for a whole."""
    machine.sh(f"rm -rf {HOME}/releases")
    words = [f"--setenv={name}={value}" for name, value in OFFLINE.items()]
    machine.run("systemd-run", "--unit=installing", *words, "/bin/sh", "/src/deploy/install.sh")
    machine.until(lambda: "bridge.py" in machine.sh(f"ls {HOME}/releases/*", check=False), "nothing is built")
    machine.run("systemctl", "kill", "-s", "KILL", "installing")
    machine.until(lambda: machine.shown("ActiveState", "installing.service") != "active", "it lives on")
    (half,) = releases(machine)
    whole = machine.sh(f"ls -A {HOME}/releases/{half}").split()

    machine.run("systemctl", "enable", "--now", "--no-block", "gateway.service")
    machine.install()
    machine.until_ready()

    assert ".whole" not in whole
    assert releases(machine) == [half]


def test_a_switch_that_was_killed_is_finished(machine: Machine) -> None:
    """The new release is the current one, and the old one still runs: the second run starts the new one."""
    before = machine.shown("MainPID")
    machine.sh(f"rm {HOME}/started")

    machine.install()

    assert machine.shown("MainPID") != before
    assert machine.curl("/health").endswith("\n200")


def test_nobody_but_root_can_change_what_root_runs(machine: Machine) -> None:
    """Whoever made the directory, whatever the umask, whoever owns the checkout."""
    machine.sh(f"chown 1000 {HOME} {HOME}/releases; chmod 777 {HOME}")
    machine.sh("cp -r /src /srv/theirs; chown -R 1000 /srv/theirs; echo >> /srv/theirs/LICENSE")

    machine.run("/bin/sh", "-c", "umask 007; cd /; sh /srv/theirs/deploy/install.sh", check=True, **OFFLINE)

    places = f"{HOME} /usr/local/bin/ibkr-bridge /etc/systemd/system"
    others = f"find {places} -not -type l \\( -not -user root -o -perm /022 \\)"
    unreadable = f"find {HOME}/releases -not -type l -not -perm -004"
    assert machine.sh(others) == ""
    assert machine.sh(unreadable) == ""
    assert machine.curl("/health").endswith("\n200")


def test_an_address_without_a_port_and_of_ipv6_is_understood(machine: Machine) -> None:
    """The installer reads it as the bridge does."""
    settings, key = machine.read(f"{HOME}/.env"), machine.key
    machine.write(f"{HOME}/.env", f"IBKR_BRIDGE_URL=http://[::1]\nIBKR_BRIDGE_KEY={key}\n", 0o600)

    said = machine.install().stdout
    answer = machine.run("curl", "-s", "-m", "5", "http://[::1]:8000/health").stdout
    machine.write(f"{HOME}/.env", settings, 0o600)
    machine.install()

    assert "http://[::1]:8000/health" in said
    assert answer == '{"status":"ok","bridge":"running"}'
    assert machine.curl("/health").endswith("\n200")


def test_the_command_line_knows_a_key_that_is_a_credential(machine: Machine) -> None:
    """`status` and `doctor` use it as the service does."""
    key = machine.key
    machine.sh(f"sed -i '/^IBKR_BRIDGE_KEY=/d' {HOME}/.env")
    machine.write("/etc/ibkr-bridge/credentials/IBKR_BRIDGE_KEY", key, 0o600)
    machine.sh(
        f"install -D -m 644 {HOME}/current/deploy/systemd/examples/credential.conf"
        " /etc/systemd/system/ibkr-bridge.service.d/credential.conf; systemctl daemon-reload;"
        " systemctl restart ibkr-bridge"
    )
    machine.until_ready()

    doctor = machine.run("ibkr-bridge", "doctor", check=False)
    status = machine.run("ibkr-bridge", "status", check=False)

    assert (doctor.returncode, status.returncode) == (0, 0), doctor.stdout + status.stdout
    assert key not in doctor.stdout + doctor.stderr + status.stdout + status.stderr


def test_a_key_taken_away_stays_away(machine: Machine) -> None:
    """It is not revived by a reload after the restart that forgot it."""
    keys = "/etc/ibkr-bridge/credentials"
    old = machine.read(f"{keys}/IBKR_BRIDGE_KEY").strip()
    machine.write(f"{keys}/IBKR_BRIDGE_KEY", old[::-1], 0o600)

    machine.run("systemctl", "restart", "ibkr-bridge")
    machine.until_ready()
    machine.run("systemctl", "kill", "-s", "HUP", "ibkr-bridge")
    machine.run("systemctl", "reload", "ibkr-bridge")

    assert machine.keyed("/portfolio/accounts", old).endswith("\n401")
    assert machine.keyed("/portfolio/accounts", old[::-1]).endswith("\n200")


def test_a_journal_that_takes_nothing_holds_nobody_up(machine: Machine) -> None:
    """Its reader is frozen until the socket is full; calls are answered, and the watchdog stays quiet."""
    before = machine.shown("MainPID")
    machine.run("systemctl", "kill", "--kill-who=main", "-s", "STOP", "systemd-journald.service")

    answers = [machine.curl("/health", "-A", "x" * 3000).rpartition("\n")[2] for _ in range(300)]
    machine.run("systemctl", "kill", "--kill-who=main", "-s", "CONT", "systemd-journald.service")

    assert set(answers) == {"200"}
    assert machine.shown("MainPID") == before


def test_a_bridge_of_the_same_name_is_kept_aside(machine: Machine) -> None:
    """A unit called ibkr-bridge.service that is not ours, and of a form we do not know, is not lost."""
    theirs = "[Service]\nExecStart=/bin/sh -c 'exec sleep infinity'\n"
    machine.install("--uninstall")
    machine.write("/etc/systemd/system/ibkr-bridge.service", theirs)

    machine.install()

    assert machine.sh(f"cat {HOME}/before/*/ibkr-bridge.service") == theirs
    assert machine.sh(f"stat -c '%a %U' {HOME}/before/*").split() == ["700", "root"]
