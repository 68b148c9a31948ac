"""A bridge from its installation to its removal: restarts, faults, new keys, upgrades and a reboot."""

from __future__ import annotations

import itertools
import json
import re
import threading
import time

from tests.system.machine import TIMEOUT_S, Machine

MAX_INSTALL_S = 180.0  # seconds from an empty machine to an open session
RESTARTS = 14
UNITS = "/etc/systemd/system"


def event_fields(machine: Machine, *query: str) -> list[dict[str, str]]:
    """The entries of the systemd journal that match a query, with their fields."""
    listing = machine.run("journalctl", "-u", "ibkr-bridge", "-o", "json", "--no-pager", *query).stdout
    return [json.loads(line) for line in listing.splitlines()]


def test_the_installer_is_the_only_command_after_the_clone(machine: Machine) -> None:
    """It makes a key without printing it, and the bridge connects to the Gateway."""
    began = time.monotonic()
    machine.run("systemctl", "enable", "--now", "--no-block", "gateway.service")

    output = machine.install().stdout
    machine.wait_until_ready()

    duration_s = time.monotonic() - began
    print(f"\nfrom the installer's start to an open session: {duration_s:.0f} s")
    assert duration_s < MAX_INSTALL_S
    assert machine.key not in output
    assert len(machine.key) >= 32
    assert machine.sh("stat -c '%a %U' /opt/ibkr-bridge/.env").strip() == "600 root"


def test_the_installed_bridge_answers_requests(machine: Machine) -> None:
    """Health and the session need no key, and calls to IBKR do."""
    assert machine.curl("/health") == '{"status":"ok","bridge":"running"}\n200'
    assert machine.curl("/gateway/auth-status") == '{"authenticated": true}\n200'
    assert machine.curl_with_key("/portfolio/accounts").endswith("\n200")
    assert machine.curl("/portfolio/accounts").endswith("\n401")


def test_systemctl_status_shows_the_state_of_the_session(machine: Machine) -> None:
    """An operator needs no other command to see it. The process belongs to a user of its own."""
    output = machine.run("systemctl", "status", "--no-pager", "ibkr-bridge").stdout

    assert 'Status: "ready: the brokerage session is open"' in output
    pid = machine.unit_property("MainPID")
    assert machine.sh(f"ps -o user= -p {pid} 2>/dev/null || stat -c %U /proc/{pid}").strip() == "ibkr-bridge"


def test_the_sandbox_has_a_low_exposure_level(machine: Machine) -> None:
    """systemd computes the level from the unit. The bridge must still serve calls in this sandbox."""
    level = machine.exposure_level()

    print(f"\nsystemd-analyze security: {level}")
    assert level <= 0.9
    assert machine.curl_with_key("/portfolio/accounts").endswith("\n200")


def test_the_systemd_journal_finds_requests_and_events_by_their_fields(machine: Machine) -> None:
    """Each entry has a priority. Its message has no time, since the journal stores the time itself."""
    machine.curl("/portfolio/accounts", "-H", f"X-Bridge-Key: {machine.key}", "-H", "X-Request-ID: look-for-me")

    (line,) = event_fields(machine, "REQUEST_ID=look-for-me")
    (ready, *_) = event_fields(machine, "BRIDGE_EVENT=session.ready")

    assert (line["BRIDGE_EVENT"], line["STATUS"], line["PRIORITY"]) == ("request", "200", "6")
    assert line["MESSAGE"].startswith("request request_id=look-for-me")
    assert not re.search(r"20\d\d-\d\d-\d\d", line["MESSAGE"])
    assert ready["STATE"] == "ready"
    assert machine.key not in machine.run("journalctl", "--no-pager", "-o", "export").stdout


def test_no_call_fails_during_a_restart(machine: Machine) -> None:
    """Three callers send calls in a loop, during more restarts than systemd allows by default."""
    statuses: list[str] = []
    has_ended = threading.Event()

    def call_repeatedly() -> None:
        while not has_ended.is_set():
            statuses.append(machine.curl_with_key("/portfolio/accounts").rpartition("\n")[2])

    callers = [threading.Thread(target=call_repeatedly) for _ in range(3)]
    for caller in callers:
        caller.start()
    for _ in range(RESTARTS):
        machine.run("systemctl", "restart", "ibkr-bridge")
        count = len(statuses)
        machine.wait_until(lambda awaited=count + 10: len(statuses) >= awaited, "no call is answered")  # type: ignore[misc]
    has_ended.set()
    for caller in callers:
        caller.join(TIMEOUT_S)

    print(f"\n{len(statuses)} calls over {RESTARTS} restarts: {sorted(set(statuses))}")
    assert set(statuses) == {"200"}


def test_a_killed_bridge_is_started_again(machine: Machine) -> None:
    """The kernel kills a process like this if the machine has no memory left."""
    before = machine.unit_property("MainPID")

    machine.run("systemctl", "kill", "-s", "KILL", "ibkr-bridge")
    machine.wait_until(lambda: machine.unit_property("MainPID") not in (before, "0"), "the bridge is not started again")
    machine.wait_until_ready()


def test_a_frozen_bridge_is_killed_and_started_again(machine: Machine) -> None:
    """The watchdog of systemd gets no signal from it. A new process serves calls within a minute."""
    before = machine.unit_property("MainPID")
    began = time.monotonic()

    machine.run("systemctl", "kill", "-s", "STOP", "ibkr-bridge")
    machine.wait_until(
        lambda: machine.unit_property("MainPID") not in (before, "0"), "the frozen bridge is not replaced"
    )
    machine.wait_until_ready()

    print(f"\nserving calls again {time.monotonic() - began:.0f} s after it froze")
    assert time.monotonic() - began < TIMEOUT_S
    assert "watchdog" in machine.run("journalctl", "-u", "ibkr-bridge", "--no-pager").stdout.lower()


def test_a_reload_replaces_the_key_in_two_steps(machine: Machine) -> None:
    """First the old key is accepted beside the new one, then only the new one. The process stays the same."""
    before, old = machine.unit_property("MainPID"), machine.key
    new = old[::-1]
    settings = machine.read("/opt/ibkr-bridge/.env")
    machine.write("/opt/ibkr-bridge/.env", settings.replace(old, f"{new}\nIBKR_BRIDGE_KEY_PREVIOUS={old}"), 0o600)

    machine.run("systemctl", "reload", "ibkr-bridge")
    both = [machine.curl_with_key("/portfolio/accounts", key).rpartition("\n")[2] for key in (old, new)]
    machine.write("/opt/ibkr-bridge/.env", settings.replace(old, new), 0o600)
    machine.run("systemctl", "reload", "ibkr-bridge")
    one = [machine.curl_with_key("/portfolio/accounts", key).rpartition("\n")[2] for key in (old, new)]

    assert (both, one, machine.unit_property("MainPID")) == (["200", "200"], ["401", "200"], before)


def test_a_reload_with_an_invalid_key_keeps_the_old_one(machine: Machine) -> None:
    """Callers must not lose access because of a typing error. The log has an event about it."""
    settings, key = machine.read("/opt/ibkr-bridge/.env"), machine.key
    machine.write("/opt/ibkr-bridge/.env", settings.replace(key, "short"), 0o600)

    refused = machine.run("systemctl", "reload", "ibkr-bridge", check=False)
    response = machine.curl_with_key("/portfolio/accounts", key)
    by_command = machine.run("ibkr-bridge", "reload", check=False)
    machine.write("/opt/ibkr-bridge/.env", settings, 0o600)
    machine.run("systemctl", "reload", "ibkr-bridge")

    assert refused.returncode != 0
    assert by_command.returncode == 78
    assert "IBKR_BRIDGE_KEY: found 5 characters" in by_command.stderr
    assert response.endswith("\n200")
    assert event_fields(machine, "BRIDGE_EVENT=bridge.reload_refused")


def test_a_reload_gives_a_caller_a_key_of_its_own(machine: Machine) -> None:
    """Root makes it; the bridge's own user reads its digest. It is refused as soon as it is revoked."""
    key = machine.run("ibkr-bridge", "keys", "add", "dashboard", "--read").stdout.strip()
    while_live = machine.curl_with_key("/portfolio/accounts", key).rpartition("\n")[2]
    owner = machine.run("stat", "-c", "%U %a", "/var/lib/ibkr-bridge/keys.json").stdout.strip()
    machine.run("ibkr-bridge", "keys", "revoke", "dashboard")

    assert while_live == "200"
    assert owner == "ibkr-bridge 600"
    assert machine.curl_with_key("/portfolio/accounts", key).endswith("\n401")


def test_one_command_replaces_the_key(machine: Machine) -> None:
    """Root types one command. The process stays the same, and no key is printed."""
    before, old = machine.unit_property("MainPID"), machine.key

    result = machine.run("ibkr-bridge", "rotate-key", "--wait", "0")
    new = machine.key
    answers = [machine.curl_with_key("/portfolio/accounts", key).rpartition("\n")[2] for key in (old, new)]

    assert (answers, machine.unit_property("MainPID")) == (["401", "200"], before)
    assert new not in result.stdout + result.stderr
    assert "IBKR_BRIDGE_KEY_PREVIOUS=" not in machine.read("/opt/ibkr-bridge/.env").replace("# IBKR", "")


def test_root_restores_a_backup(machine: Machine) -> None:
    """A relative path is where the person is. The bridge's own user can use what root has restored."""
    listing = machine.sh("cd /root && ibkr-bridge backup b.zip && ibkr-bridge diag d.tar.gz --yes && ls -l *.zip *.gz")
    refused = machine.run("ibkr-bridge", "restore", "/root/b.zip", "--yes", check=False)
    machine.sh("systemctl stop ibkr-bridge.socket ibkr-bridge.service")
    restored = machine.run("ibkr-bridge", "restore", "/root/b.zip", "--yes")
    machine.run("systemctl", "start", "ibkr-bridge")
    machine.wait_until_ready()

    assert "b.zip" in listing
    assert "systemctl stop ibkr-bridge.socket" in refused.stderr
    assert "/var/lib/ibkr-bridge.before-" in restored.stdout
    assert machine.curl_with_key("/gateway/status", machine.key).endswith("\n200")
    assert '"problem": null' in machine.curl_with_key("/gateway/status", machine.key)


def test_bash_completes_the_installed_command(machine: Machine) -> None:
    """The installer puts the script where bash looks for it."""
    script = machine.read("/usr/local/share/bash-completion/completions/ibkr-bridge")

    assert "rotate-key" in script
    assert machine.run("ibkr-bridge", "status", "--help").stdout.startswith("usage: ibkr-bridge status")


def test_the_pauses_between_failed_restarts_grow(machine: Machine) -> None:
    """A bridge that ends at once must not use all the time of the machine. A start by hand has no pause."""
    machine.write(f"{UNITS}/ibkr-bridge.service.d/bad.conf", "[Service]\nExecStart=\nExecStart=/bin/false\n")
    machine.sh("systemctl daemon-reload; systemctl stop ibkr-bridge; systemctl start --no-block ibkr-bridge")

    def end_times() -> list[float]:
        query = ("-o", "json", "--no-pager", "-g", "Main process exited.*status=1/FAILURE")
        listing = machine.run("journalctl", "-u", "ibkr-bridge", *query, check=False)
        return [int(json.loads(line)["__MONOTONIC_TIMESTAMP"]) / 1e6 for line in listing.stdout.splitlines()]

    machine.wait_until(lambda: len(end_times()) >= 5, "systemd does not start it again")
    machine.sh(f"rm {UNITS}/ibkr-bridge.service.d/bad.conf; systemctl daemon-reload; systemctl restart ibkr-bridge")
    began = time.monotonic()
    machine.sh("systemctl stop ibkr-bridge; systemctl start ibkr-bridge")
    restart_s = time.monotonic() - began
    machine.wait_until_ready()

    pauses = [round(after - before) for before, after in itertools.pairwise(end_times()[:5])]
    print(f"\npauses between restarts that fail: {pauses} s")
    assert pauses == sorted(set(pauses))
    assert restart_s < pauses[-1]


def test_a_bridge_with_invalid_settings_is_not_started_again(machine: Machine) -> None:
    """After status 78 a new connection does not start it either. The systemd journal names the setting."""
    machine.write(f"{UNITS}/ibkr-bridge.service.d/bad.conf", "[Service]\nEnvironment=IBKR_GATEWAY_WATCH=never\n")
    machine.run("systemctl", "daemon-reload")

    machine.run("systemctl", "restart", "ibkr-bridge", check=False)
    calls = [machine.curl("/health") for _ in range(5)]
    state = (
        machine.unit_property("ActiveState"),
        machine.unit_property("ExecMainStatus"),
        machine.unit_property("NRestarts"),
    )
    machine.sh(f"rm {UNITS}/ibkr-bridge.service.d/bad.conf; systemctl daemon-reload; systemctl restart ibkr-bridge")
    machine.wait_until_ready()

    assert state == ("failed", "78", "0")
    assert calls == ["\n000"] * 5
    assert "IBKR_GATEWAY_WATCH" in machine.run("journalctl", "-u", "ibkr-bridge", "--no-pager").stdout


def test_a_second_installation_of_the_same_version_changes_nothing(machine: Machine) -> None:
    """The settings, the releases and the process stay the same."""
    before = (
        machine.unit_property("MainPID"),
        machine.read("/opt/ibkr-bridge/.env"),
        machine.sh("ls /opt/ibkr-bridge/releases"),
    )

    machine.install()

    assert before == (
        machine.unit_property("MainPID"),
        machine.read("/opt/ibkr-bridge/.env"),
        machine.sh("ls /opt/ibkr-bridge/releases"),
    )


def test_a_dry_run_changes_nothing(machine: Machine) -> None:
    """It only prints the steps."""
    listing = "find /opt/ibkr-bridge /etc/systemd -newer /tmp/mark | head"
    machine.sh("sleep 0.01; touch /tmp/mark")

    output = machine.install("--uninstall", "--dry-run").stdout + machine.install("--dry-run").stdout

    assert "would run: " in output
    assert machine.sh(listing) == ""
    assert machine.curl("/health").endswith("\n200")


def test_a_broken_version_leaves_the_old_one_running(machine: Machine) -> None:
    """The new release is built but does not start, so the installer removes it and starts the old one again."""
    before = machine.sh("readlink /opt/ibkr-bridge/current")
    broken = machine.source / "ibkr_bridge/cli/serve.py"
    text = broken.read_text()
    broken.write_text(text + "\nraise SystemExit(3)\n")

    failed = machine.install("--upgrade", check=False)
    broken.write_text(text)

    assert failed.returncode == 1
    assert "the old one runs again" in failed.stderr
    assert machine.sh("readlink /opt/ibkr-bridge/current") == before
    machine.wait_until_ready()


def test_a_version_that_cannot_be_built_is_not_started(machine: Machine) -> None:
    """One of its packages does not exist. The running process is not restarted."""
    before = machine.unit_property("MainPID")
    requirements = machine.source / "requirements.txt"
    text = requirements.read_text()
    requirements.write_text(text + "no-such-package==1 --hash=sha256:" + "0" * 64 + "\n")

    failed = machine.install("--upgrade", check=False)
    requirements.write_text(text)

    assert failed.returncode == 1
    assert "nothing was changed" in failed.stderr
    assert machine.unit_property("MainPID") == before


def test_an_upgrade_starts_the_new_version(machine: Machine) -> None:
    """The old release is kept, so that an operator can return to it."""
    before = machine.sh("readlink /opt/ibkr-bridge/current")
    changed = machine.source / "LICENSE"
    text = changed.read_text()
    changed.write_text(text + "\n")

    machine.install("--upgrade")
    changed.write_text(text)
    machine.wait_until_ready()

    assert machine.sh("readlink /opt/ibkr-bridge/current") != before
    assert len(machine.sh("ls /opt/ibkr-bridge/releases").split()) == 2


def test_the_bridge_runs_after_a_reboot(machine: Machine) -> None:
    """Its key is still the same."""
    key = machine.key
    machine.shut_down()
    machine.boot()
    machine.wait_until_ready()

    assert machine.curl_with_key("/portfolio/accounts", key).endswith("\n200")


def test_the_bridge_can_be_sealed(machine: Machine) -> None:
    """A sealed bridge has no network: systemd opens its port, and it reaches the Gateway through a Unix socket."""
    machine.seal()

    level = machine.exposure_level()
    print(f"\nsealed: {level}")
    assert level <= 0.2
    assert machine.curl_with_key("/portfolio/accounts").endswith("\n200")


PATHS_OF_THE_BRIDGE = (
    "find / -xdev \\( -path /proc -o -path /sys -o -path /src -o -path /var/log -o -path /tmp \\) -prune -o"
    " -ipath '*ibkr-*' ! -ipath '*/lib/ibkr*/*' -print"
)


def test_uninstalling_keeps_the_settings_and_the_state(machine: Machine) -> None:
    """It says where they are. Nothing runs, and the state belongs to root. A second `--uninstall` does no harm."""
    key = machine.key
    output = machine.install("--uninstall").stdout
    machine.install("--uninstall")

    paths_left = {path.partition(".before-")[0] for path in machine.sh(PATHS_OF_THE_BRIDGE).split()}
    assert paths_left == {
        "/opt/ibkr-bridge",
        "/opt/ibkr-bridge/.env",
        "/var/lib/ibkr-bridge",
        f"{UNITS}/ibkr-bridge.service.d",
        f"{UNITS}/ibkr-bridge.service.d/sealed.conf",
        f"{UNITS}/ibkr-gateway-proxy.service",
        f"{UNITS}/ibkr-gateway-proxy.socket",
    }
    assert all(f"  {path}" in output for path in ("/opt/ibkr-bridge/.env", f"{UNITS}/ibkr-bridge.service.d"))
    assert key == machine.key
    assert key not in output
    assert machine.sh("stat -c %U /var/lib/ibkr-bridge*").split() == ["root", "root"]
    assert machine.run("getent", "passwd", "ibkr-bridge", check=False).stdout == ""


def test_a_later_installation_finds_the_settings(machine: Machine) -> None:
    """The key of the apps is the same, and the bridge is still sealed: the drop-in and its proxy have stayed."""
    key = machine.key

    machine.install()
    machine.wait_until_ready()

    assert machine.curl_with_key("/portfolio/accounts", key).endswith("\n200")
    assert machine.exposure_level() <= 0.2


def test_purging_leaves_only_the_state_directory(machine: Machine) -> None:
    """The journal of orders is in it, and in the one that a restore has kept."""
    machine.install("--uninstall", "--purge")
    machine.install("--uninstall", "--purge")

    paths_left = machine.sh(PATHS_OF_THE_BRIDGE).split()
    assert [path.partition(".before-")[0] for path in paths_left] == ["/var/lib/ibkr-bridge"] * 2
    assert machine.sh("stat -c %U /var/lib/ibkr-bridge*").split() == ["root", "root"]
    assert machine.run("getent", "passwd", "ibkr-bridge", check=False).stdout == ""
