"""The life of an installed bridge, told in order: a new user, an operator's days, an end that leaves nothing behind."""

from __future__ import annotations

import itertools
import json
import re
import threading
import time

from tests.system.machine import WITHIN, Machine

TWO_COMMANDS_WITHIN = 180.0  # seconds from an empty machine to an open session
RESTARTS = 14
UNITS = "/etc/systemd/system"


def event_fields(machine: Machine, *query: str) -> list[dict[str, str]]:
    """What the journal finds."""
    found = machine.run("journalctl", "-u", "ibkr-bridge", "-o", "json", "--no-pager", *query).stdout
    return [json.loads(line) for line in found.splitlines()]


def test_a_new_user_needs_one_command_after_the_clone(machine: Machine) -> None:
    """From nothing to an open session; the key is made and not shown."""
    began = time.monotonic()
    machine.run("systemctl", "enable", "--now", "--no-block", "gateway.service")

    said = machine.install().stdout
    machine.until_ready()

    took = time.monotonic() - began
    print(f"\nfrom the installer's start to an open session: {took:.0f} s")
    assert took < TWO_COMMANDS_WITHIN
    assert machine.key not in said
    assert len(machine.key) >= 32
    assert machine.sh("stat -c '%a %U' /opt/ibkr-bridge/.env").strip() == "600 root"


def test_it_answers_curl(machine: Machine) -> None:
    """Health, the session, and a call with the key."""
    assert machine.curl("/health") == '{"status":"ok","bridge":"running"}\n200'
    assert machine.curl("/gateway/auth-status") == '{"authenticated": true}\n200'
    assert machine.keyed("/portfolio/accounts").endswith("\n200")
    assert machine.curl("/portfolio/accounts").endswith("\n401")


def test_systemctl_tells_how_the_session_is(machine: Machine) -> None:
    """In words, and by whom it runs."""
    said = machine.run("systemctl", "status", "--no-pager", "ibkr-bridge").stdout

    assert 'Status: "ready: the brokerage session is open"' in said
    assert (
        machine.sh(
            f"ps -o user= -p {machine.shown('MainPID')} 2>/dev/null || stat -c %U /proc/{machine.shown('MainPID')}"
        ).strip()
        == "ibkr-bridge"
    )


def test_the_sandbox_is_tight_while_it_serves(machine: Machine) -> None:
    """As systemd itself judges it."""
    score = machine.score()

    print(f"\nsystemd-analyze security: {score}")
    assert score <= 0.9
    assert machine.keyed("/portfolio/accounts").endswith("\n200")


def test_the_journal_finds_a_request_by_its_id(machine: Machine) -> None:
    """And facts by their name; with a priority, and no time within the message."""
    machine.curl("/portfolio/accounts", "-H", f"X-Bridge-Key: {machine.key}", "-H", "X-Request-ID: look-for-me")

    (line,) = event_fields(machine, "REQUEST_ID=look-for-me")
    (ready, *_) = event_fields(machine, "BRIDGE_EVENT=session.ready")

    assert (line["BRIDGE_EVENT"], line["STATUS"], line["PRIORITY"]) == ("request", "200", "6")
    assert line["MESSAGE"].startswith("request request_id=look-for-me")
    assert not re.search(r"20\d\d-\d\d-\d\d", line["MESSAGE"])
    assert ready["STATE"] == "ready"
    assert machine.key not in machine.run("journalctl", "--no-pager", "-o", "export").stdout


def test_a_restart_fails_no_call(machine: Machine) -> None:
    """Callers in a loop over more restarts than systemd takes by default; every one of their calls is answered."""
    answers: list[str] = []
    enough = threading.Event()

    def ask() -> None:
        while not enough.is_set():
            answers.append(machine.keyed("/portfolio/accounts").rpartition("\n")[2])

    callers = [threading.Thread(target=ask) for _ in range(3)]
    for caller in callers:
        caller.start()
    for _ in range(RESTARTS):
        machine.run("systemctl", "restart", "ibkr-bridge")
        served = len(answers)
        machine.until(lambda many=served + 10: len(answers) >= many, "nobody is served")  # type: ignore[misc]
    enough.set()
    for caller in callers:
        caller.join(WITHIN)

    print(f"\n{len(answers)} calls over {RESTARTS} restarts: {sorted(set(answers))}")
    assert set(answers) == {"200"}


def test_a_killed_bridge_comes_back(machine: Machine) -> None:
    """`kill -9`, as the kernel does when memory ends."""
    before = machine.shown("MainPID")

    machine.run("systemctl", "kill", "-s", "KILL", "ibkr-bridge")
    machine.until(lambda: machine.shown("MainPID") not in (before, "0"), "it does not come back")
    machine.until_ready()


def test_a_frozen_bridge_is_killed_and_comes_back(machine: Machine) -> None:
    """The watchdog hears nothing of it; within a minute another one serves."""
    before = machine.shown("MainPID")
    began = time.monotonic()

    machine.run("systemctl", "kill", "-s", "STOP", "ibkr-bridge")
    machine.until(lambda: machine.shown("MainPID") not in (before, "0"), "it stays frozen")
    machine.until_ready()

    print(f"\nserving again {time.monotonic() - began:.0f} s after it froze")
    assert time.monotonic() - began < WITHIN
    assert "watchdog" in machine.run("journalctl", "-u", "ibkr-bridge", "--no-pager").stdout.lower()


def test_keys_are_changed_by_a_reload(machine: Machine) -> None:
    """The old one is accepted beside the new one, and then no more; the process stays the same."""
    before, old = machine.shown("MainPID"), machine.key
    new = old[::-1]
    settings = machine.read("/opt/ibkr-bridge/.env")
    machine.write("/opt/ibkr-bridge/.env", settings.replace(old, f"{new}\nIBKR_BRIDGE_KEY_PREVIOUS={old}"), 0o600)

    machine.run("systemctl", "reload", "ibkr-bridge")
    both = [machine.keyed("/portfolio/accounts", key).rpartition("\n")[2] for key in (old, new)]
    machine.write("/opt/ibkr-bridge/.env", settings.replace(old, new), 0o600)
    machine.run("systemctl", "reload", "ibkr-bridge")
    one = [machine.keyed("/portfolio/accounts", key).rpartition("\n")[2] for key in (old, new)]

    assert (both, one, machine.shown("MainPID")) == (["200", "200"], ["401", "200"], before)


def test_a_reload_with_a_bad_key_keeps_the_old_one(machine: Machine) -> None:
    """And says so."""
    settings, key = machine.read("/opt/ibkr-bridge/.env"), machine.key
    machine.write("/opt/ibkr-bridge/.env", settings.replace(key, "short"), 0o600)

    machine.run("systemctl", "reload", "ibkr-bridge")
    answer = machine.keyed("/portfolio/accounts", key)
    machine.write("/opt/ibkr-bridge/.env", settings, 0o600)
    machine.run("systemctl", "reload", "ibkr-bridge")

    assert answer.endswith("\n200")
    assert event_fields(machine, "BRIDGE_EVENT=bridge.reload_refused")


def test_pauses_between_restarts_that_fail_grow(machine: Machine) -> None:
    """A bridge that ends at once does not keep the machine busy; once it runs, all is forgotten."""
    machine.write(f"{UNITS}/ibkr-bridge.service.d/bad.conf", "[Service]\nExecStart=\nExecStart=/bin/false\n")
    machine.sh("systemctl daemon-reload; systemctl stop ibkr-bridge; systemctl start --no-block ibkr-bridge")

    def ends() -> list[float]:
        what = ("-o", "json", "--no-pager", "-g", "Main process exited.*status=1/FAILURE")
        found = machine.run("journalctl", "-u", "ibkr-bridge", *what, check=False)
        return [int(json.loads(line)["__MONOTONIC_TIMESTAMP"]) / 1e6 for line in found.stdout.splitlines()]

    machine.until(lambda: len(ends()) >= 5, "it is not tried again")
    machine.sh(f"rm {UNITS}/ibkr-bridge.service.d/bad.conf; systemctl daemon-reload; systemctl restart ibkr-bridge")
    by_hand = time.monotonic()
    machine.sh("systemctl stop ibkr-bridge; systemctl start ibkr-bridge")
    by_hand = time.monotonic() - by_hand
    machine.until_ready()

    pauses = [round(after - before) for before, after in itertools.pairwise(ends()[:5])]
    print(f"\npauses between restarts that fail: {pauses} s")
    assert pauses == sorted(set(pauses))
    assert by_hand < pauses[-1]


def test_settings_that_cannot_be_used_end_it_for_good(machine: Machine) -> None:
    """Status 78 is not tried again, not for a caller either; what is wrong stands in the journal."""
    machine.write(f"{UNITS}/ibkr-bridge.service.d/bad.conf", "[Service]\nEnvironment=IBKR_GATEWAY_WATCH=never\n")
    machine.run("systemctl", "daemon-reload")

    machine.run("systemctl", "restart", "ibkr-bridge", check=False)
    calls = [machine.curl("/health") for _ in range(5)]
    state = machine.shown("ActiveState"), machine.shown("ExecMainStatus"), machine.shown("NRestarts")
    machine.sh(f"rm {UNITS}/ibkr-bridge.service.d/bad.conf; systemctl daemon-reload; systemctl restart ibkr-bridge")
    machine.until_ready()

    assert state == ("failed", "78", "0")
    assert calls == ["\n000"] * 5
    assert "IBKR_GATEWAY_WATCH" in machine.run("journalctl", "-u", "ibkr-bridge", "--no-pager").stdout


def test_the_same_version_again_changes_nothing(machine: Machine) -> None:
    """The settings neither, nor the process."""
    before = machine.shown("MainPID"), machine.read("/opt/ibkr-bridge/.env"), machine.sh("ls /opt/ibkr-bridge/releases")

    machine.install()

    assert before == (
        machine.shown("MainPID"),
        machine.read("/opt/ibkr-bridge/.env"),
        machine.sh("ls /opt/ibkr-bridge/releases"),
    )


def test_a_dry_run_changes_nothing(machine: Machine) -> None:
    """It says what would be."""
    listing = "find /opt/ibkr-bridge /etc/systemd -newer /tmp/mark | head"
    machine.sh("sleep 0.01; touch /tmp/mark")

    said = machine.install("--uninstall", "--dry-run").stdout + machine.install("--dry-run").stdout

    assert "would run: " in said
    assert machine.sh(listing) == ""
    assert machine.curl("/health").endswith("\n200")


def test_a_broken_version_leaves_the_old_one_running(machine: Machine) -> None:
    """It is built, does not start, and is taken away again."""
    before = machine.sh("readlink /opt/ibkr-bridge/current")
    broken = machine.source / "ibkr_bridge/cli/serve.py"
    text = broken.read_text()
    broken.write_text(text + "\nraise SystemExit(3)\n")

    failed = machine.install("--upgrade", check=False)
    broken.write_text(text)

    assert failed.returncode == 1
    assert "the old one runs again" in failed.stderr
    assert machine.sh("readlink /opt/ibkr-bridge/current") == before
    machine.until_ready()


def test_a_version_that_cannot_be_built_is_not_even_tried(machine: Machine) -> None:
    """Its packages are missing; the running one hears nothing of it."""
    before = machine.shown("MainPID")
    needed = machine.source / "requirements.txt"
    text = needed.read_text()
    needed.write_text(text + "no-such-package==1 --hash=sha256:" + "0" * 64 + "\n")

    failed = machine.install("--upgrade", check=False)
    needed.write_text(text)

    assert failed.returncode == 1
    assert "nothing was changed" in failed.stderr
    assert machine.shown("MainPID") == before


def test_a_good_version_takes_over(machine: Machine) -> None:
    """The old release is kept beside it, for a way back."""
    before = machine.sh("readlink /opt/ibkr-bridge/current")
    changed = machine.source / "LICENSE"
    text = changed.read_text()
    changed.write_text(text + "\n")

    machine.install("--upgrade")
    changed.write_text(text)
    machine.until_ready()

    assert machine.sh("readlink /opt/ibkr-bridge/current") != before
    assert len(machine.sh("ls /opt/ibkr-bridge/releases").split()) == 2


def test_it_is_there_after_a_reboot(machine: Machine) -> None:
    """With the same key."""
    key = machine.key
    machine.shut_down()
    machine.boot()
    machine.until_ready()

    assert machine.keyed("/portfolio/accounts", key).endswith("\n200")


def test_the_bridge_can_be_sealed(machine: Machine) -> None:
    """No network at all; the port is systemd's, and the Gateway comes through a Unix socket."""
    machine.seal()

    score = machine.score()
    print(f"\nsealed: {score}")
    assert score <= 0.2
    assert machine.keyed("/portfolio/accounts").endswith("\n200")


def test_an_end_leaves_only_the_state(machine: Machine) -> None:
    """Nothing else, and a second end is none."""
    machine.install("--uninstall")
    machine.install("--uninstall")

    left = machine.sh(
        "find / -xdev \\( -path /proc -o -path /sys -o -path /src -o -path /var/log -o -path /tmp \\) -prune -o"
        " -iname '*ibkr*bridge*' -print"
    ).split()
    assert left == ["/var/lib/ibkr-bridge"]
    assert machine.run("getent", "passwd", "ibkr-bridge", check=False).stdout == ""
