"""`bridge.py` started by hand: with any Python, with wrong settings, on a port in use, and until a signal."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ibkr_bridge import VERSION
from ibkr_bridge.cli import COMMANDS, main
from ibkr_bridge.config.env_reader import DEMO_KEY
from tests.cli.command_runner import (
    BRIDGE,
    EXIT_FAILURE,
    EXIT_MISCONFIGURED,
    EXIT_OK,
    KEY,
    ROOT,
    TIMEOUT_S,
    Demo,
    Place,
    demo,
    free_port,
)

BARE = "/usr/bin/python3"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """An empty directory."""
    return Place(tmp_path)


@pytest.fixture(scope="session")
def bare() -> str:
    """A Python of the system, recent enough, without our packages."""
    if not Path(BARE).exists():
        pytest.skip(f"{BARE} is not there, so no Python without the packages can be tried")
    code = "import sys, importlib.util as u; sys.exit(u.find_spec('aiohttp') is not None or sys.version_info < (3, 11))"
    if subprocess.run([BARE, "-c", code], check=False).returncode:
        pytest.skip(f"{BARE} has aiohttp or is older than 3.11, so no Python without the packages can be tried")
    return BARE


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the program without an environment."""
    copy = tmp_path / "checkout"
    shutil.copytree(ROOT / "ibkr_bridge", copy / "ibkr_bridge", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(BRIDGE, copy / "bridge.py")
    return copy


# -- with any Python


def test_without_the_packages_it_says_how_to_install_them(place: Place, bare: str, checkout: Path) -> None:
    """One line to copy, no traceback."""
    result = place.run_by(bare, checkout / "bridge.py", "genkey")

    assert (result.returncode, result.stdout) == (EXIT_MISCONFIGURED, "")
    assert "lacks: aiohttp" in result.stderr
    assert f"make -C {checkout} setup" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_environment_beside_it_is_used(place: Place, bare: str, checkout: Path) -> None:
    """`python3 bridge.py` works with any Python; arguments and exit status pass through."""
    if sys.prefix == sys.base_prefix:
        pytest.skip("these tests do not run in a virtual environment that could be lent")
    (checkout / ".venv").symlink_to(sys.prefix)

    made = place.run_by(bare, checkout / "bridge.py", "genkey", "--json")
    wrong = place.run_by(bare, checkout / "bridge.py", IBKR_BRIDGE_KEY="short")

    assert (made.returncode, made.stderr) == (EXIT_OK, "")
    assert made.stdout.startswith('{"key": ')
    assert wrong.returncode == EXIT_MISCONFIGURED
    assert "IBKR_BRIDGE_KEY" in wrong.stderr


def test_an_environment_without_the_packages_is_reported(place: Place, bare: str, checkout: Path) -> None:
    """Its set-up was interrupted. The program must not start itself for ever."""
    (checkout / ".venv" / "bin").mkdir(parents=True)
    (checkout / ".venv" / "bin" / "python").symlink_to(bare)
    (checkout / ".venv" / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")

    result = place.run_by(bare, checkout / "bridge.py", "genkey")

    assert result.returncode == EXIT_MISCONFIGURED
    assert f"make -C {checkout} setup" in result.stderr


def test_a_broken_environment_does_not_start_itself_for_ever(place: Place, bare: str, checkout: Path) -> None:
    """The Python of a `.venv` without `pyvenv.cfg` is the one that started the program."""
    (checkout / ".venv" / "bin").mkdir(parents=True)
    (checkout / ".venv" / "bin" / "python").symlink_to(bare)

    result = subprocess.run(
        [bare, str(checkout / "bridge.py"), "genkey"],
        cwd=place.home,
        env=place.env,
        capture_output=True,
        text=True,
        timeout=2.0,
        check=False,
    )

    assert result.returncode == EXIT_MISCONFIGURED
    assert f"make -C {checkout} setup" in result.stderr


def test_an_environment_whose_python_is_gone_is_reported(place: Place, bare: str, checkout: Path) -> None:
    """An upgrade of the system removed that Python."""
    (checkout / ".venv" / "bin").mkdir(parents=True)
    (checkout / ".venv" / "bin" / "python").symlink_to("/nowhere/python3")

    result = place.run_by(bare, checkout / "bridge.py", "genkey")

    assert result.returncode == EXIT_MISCONFIGURED
    assert "setup" in result.stderr


# -- arguments


def test_help_lists_every_command(place: Place) -> None:
    """With what it does."""
    result = place.run("--help")

    assert result.returncode == EXIT_OK
    shown = " ".join(result.stdout.split())
    assert all(f" {name} {text}" in shown for name, text in COMMANDS.items())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str], command: str) -> None:
    """Without doing anything."""
    try:
        status = main([command, "--help"])
    except SystemExit as end:
        status = int(end.code or EXIT_OK)

    assert status == EXIT_OK
    assert capsys.readouterr().out.startswith(f"usage: bridge.py {command}")


@pytest.mark.parametrize("words", [["nonsense"], ["--nonsense"], ["serve", "--nonsense"], ["status", "x"]])
def test_unknown_arguments_are_refused(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    """A typing error must not start a daemon."""
    monkeypatch.chdir(place.home)  # no key here: if it served, it would report the missing key instead

    status = main(words)

    message = capsys.readouterr().err
    assert status == EXIT_FAILURE
    assert words[-1] in message
    assert "usage: bridge.py" in message


# -- wrong settings


def test_all_problems_are_reported_at_once(place: Place) -> None:
    """A person corrects all lines in one go; no key is printed."""
    place.write_dotenv("IBKR_BRIDGE_KEY=REPLACE_WITH_REAL_KEY\nthis is not a setting\nIBKR_READ_ONLY=perhaps\n")

    result = place.run(
        IBKR_BRIDGE_URL="http://0.0.0.0:8000",
        IBKR_GATEWAY_URL="https://elsewhere:5000",
        IBKR_TRADING_MODE="real",
        IBKR_BRIDGE_KYE=KEY,
        IBKR_BRIDGE_READONLY_KEY="short-secret",
    )

    assert (result.returncode, result.stdout) == (EXIT_MISCONFIGURED, "")
    for name in (
        *(".env: line 2", "IBKR_BRIDGE_URL", "IBKR_BRIDGE_KEY", "IBKR_GATEWAY_URL", "IBKR_READ_ONLY"),
        *("IBKR_TRADING_MODE", "IBKR_BRIDGE_KYE", "IBKR_BRIDGE_READONLY_KEY"),
    ):
        assert f"  {name}" in result.stderr
    assert KEY not in result.stderr
    assert "short-secret" not in result.stderr
    assert "Traceback" not in result.stderr


def test_no_settings_at_all_asks_for_a_key(place: Place) -> None:
    """The message says how to make one."""
    result = place.run()

    assert result.returncode == EXIT_MISCONFIGURED
    assert "python bridge.py genkey" in result.stderr


# -- serving


@pytest.mark.parametrize("command", [[], ["demo"]])
def test_a_port_in_use_is_reported_with_the_command_that_finds_its_user(place: Place, command: list[str]) -> None:
    """Nothing stays running."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        result = place.run(*command, IBKR_BRIDGE_URL=f"http://127.0.0.1:{port}", IBKR_BRIDGE_KEY=KEY)

    assert result.returncode == EXIT_FAILURE
    assert f"ss -ltnp 'sport = :{port}'" in result.stderr
    assert "IBKR_BRIDGE_URL" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(place: Place, signum: signal.Signals) -> None:
    """The status is 0, with or without a Gateway. The log has the start and the end, and no key."""
    env = {"IBKR_BRIDGE_KEY": KEY, "IBKR_GATEWAY_URL": f"https://127.0.0.1:{free_port()}"}
    with place.running(IBKR_BRIDGE_URL="http://127.0.0.1:0", **env) as bridge:
        url = bridge.wait_for(r'"url": "(http://127\.0\.0\.1:\d+)"')[1]
        answer = _health(int(url.rpartition(":")[2]))

        status = bridge.send_signal(signum)

    assert answer.endswith(b'{"status":"ok","bridge":"running"}')
    assert status == EXIT_OK
    assert [word for word in ("bridge.started", "bridge.stopping", "bridge.stopped") if word not in bridge.output] == []
    assert KEY not in bridge.output
    assert "Traceback" not in bridge.output


def _health(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as wire:
        wire.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        return b"".join(iter(lambda: wire.recv(65536), b""))


# -- the demo


def test_the_demo_shows_its_key_and_three_lines_that_work(running: Demo) -> None:
    """Each of them can be copied into another terminal."""
    lines = re.findall(r"^ +curl .*$", running.running.output, re.MULTILINE)
    responses = [running.get(line.rpartition(running.url)[2]) for line in lines]

    assert running.key == DEMO_KEY
    assert len(lines) == 3
    assert [response.status_code for response in responses] == [200, 200, 200]
    assert responses[1].json() == {"authenticated": True}
    assert responses[2].json()[0]["id"] == "DU1234567"


def test_the_demo_keeps_its_key_out_of_its_log(shared: Demo) -> None:
    """It is shown once, to the person who started it."""
    shared.get("/portfolio/accounts")
    shared.running.wait_for('"route": "/portfolio/accounts"')

    assert shared.running.output.count(shared.key) == 1


def test_the_demo_honours_address_and_key_and_does_not_show_the_key(place: Place) -> None:
    """A key from the environment may be a real one."""
    url = f"http://127.0.0.1:{free_port()}"
    with demo(place, IBKR_BRIDGE_URL=url, IBKR_BRIDGE_KEY=KEY) as running:
        response = running.get("/portfolio/accounts")
        status = running.running.send_signal(signal.SIGTERM)

    assert (running.url, response.status_code, status) == (url, 200, EXIT_OK)
    assert KEY not in running.running.output
    assert 'X-Bridge-Key: $IBKR_BRIDGE_KEY"' in running.running.output


def test_the_demo_uses_the_port_that_is_named_for_its_gateway(place: Place) -> None:
    """For other clients that know only one address."""
    port = free_port()
    with demo(place, "--gateway-port", str(port)) as running:
        assert running.gateway == f"https://127.0.0.1:{port}"


def test_the_demo_reads_nothing_of_the_real_bridge(place: Place) -> None:
    """Neither its `.env` nor its Gateway: no real account is near, and no real state is touched."""
    place.write_dotenv(f"IBKR_BRIDGE_KEY={KEY}\nIBKR_TRADING_MODE=live\nIBKR_GATEWAY_URL=https://127.0.0.1:1\n")
    del place.env["IBKR_BRIDGE_STATE_DIR"]
    with demo(place, IBKR_GATEWAY_URL="https://127.0.0.1:1", IBKR_GATEWAY_FINGERPRINT="ab" * 32) as running:
        result = running.get("/gateway/status").json()

    assert running.key != KEY
    assert (result["mode"], result["authenticated"], result["gateway"]) == ("paper", True, running.gateway)
    assert not (place.home / ".local").exists()


def test_the_demo_reports_wrong_settings(place: Place) -> None:
    """As the daemon does."""
    result = place.run("demo", IBKR_TRADING_MODE="real", IBKR_BRIDGE_KEY="short")

    assert result.returncode == EXIT_MISCONFIGURED
    assert "IBKR_TRADING_MODE" in result.stderr
    assert "IBKR_BRIDGE_KEY" in result.stderr


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """For a report of a fault."""
    assert main(["--version"]) == EXIT_OK
    assert capsys.readouterr().out == f"ibkr-bridge {VERSION}\n"


@pytest.mark.parametrize("words", [["help"], ["help", "help"]])
def test_help_is_a_command_too(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    """With all commands and the exit statuses."""
    assert main(words) == EXIT_OK
    shown = capsys.readouterr().out
    assert "usage: bridge.py" in shown
    assert "  78  the settings cannot be used" in shown


def test_help_explains_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    """As its own option does."""
    assert main(["help", "status"]) == EXIT_OK
    assert capsys.readouterr().out.startswith("usage: bridge.py status")
