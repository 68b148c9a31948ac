"""A Debian that really boots, with systemd as its first process, in a container of `systemd-nspawn`.

It has a network of its own with the loopback device only, so it disturbs no other program and cannot send anything out.
The directory `.system/` beside the README is a cache: the root file system as a tar file, and the Python packages.
"""

from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from tests.system.cgroup import Cgroup

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".system"
BOOKWORM, TRIXIE = "bookworm", "trixie"
PYTHONS = {BOOKWORM: "3.11", TRIXIE: "3.13"}
PACKAGES = "systemd,systemd-sysv,dbus,python3,python3-venv,curl,ca-certificates,iproute2"
TOOLS = ("debootstrap", "systemd-nspawn", "nsenter", "ip", "tar", "git")
TIMEOUT_S = 60.0  # for each step of a machine; only broken code takes so long
INSIDE_ENV = {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8"}
OFFLINE_ENV = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/wheels"}
GATEWAY = """[Unit]
Description=A simulated Gateway
StartLimitIntervalSec=0
[Service]
Environment=HOME=/run/gateway PYTHONDONTWRITEBYTECODE=1
RuntimeDirectory=gateway
ExecStart=/usr/local/bin/ibkr-bridge sim
Restart=always
RestartSec=0.2
[Install]
WantedBy=multi-user.target
"""


def missing_requirement() -> str | None:
    """Why no machine can be booted here; None if one can be booted."""
    if os.geteuid() != 0:
        return "the tests must run as root"
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return f"{', '.join(missing)} is missing: apt install debootstrap systemd-container iproute2 git"
    unshare = ("unshare", "--mount", "--net", "--pid", "--fork", "true")
    if subprocess.run(unshare, check=False, capture_output=True).returncode:
        return "new namespaces are not permitted here"
    try:
        Cgroup().remove()
    except OSError:
        return "new control groups are not permitted here"
    try:
        prepare_files(BOOKWORM)
    except subprocess.CalledProcessError as exc:
        return f"`{exc.cmd[0]}` could not download its files"
    return None


def prepare_files(suite: str) -> tuple[Path, Path]:
    """Make or download the files of a release of Debian that the cache does not have.

    Returns:
        The tar file of the root, and the directory of the Python packages.

    Raises:
        subprocess.CalledProcessError: a download failed.
    """
    CACHE.mkdir(exist_ok=True)
    tar, wheels = CACHE / f"{suite}.tar", CACHE / f"wheels-{PYTHONS[suite]}"
    if not tar.exists():
        fresh = CACHE / suite
        shutil.rmtree(fresh, ignore_errors=True)
        command = ("debootstrap", "--variant=minbase", f"--include={PACKAGES}", suite, str(fresh))
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        subprocess.run(("tar", "-C", str(fresh), "-cf", f"{tar}.new", "."), check=True)
        Path(f"{tar}.new").replace(tar)
        shutil.rmtree(fresh)
    _download_packages(wheels, PYTHONS[suite])
    return tar, wheels


def _download_packages(wheels: Path, python: str) -> None:
    """Download the packages for a Python version of Debian, and check their hashes."""
    machine = platform.machine()
    kinds = [f"--platform={kind}_{machine}" for kind in ("manylinux_2_17", "manylinux2014", "manylinux_2_28", "linux")]
    target = ["--only-binary=:all:", f"--python-version={python}", "--implementation=cp", *kinds]
    arguments = ["download", "--quiet", "--require-hashes", "-r", str(ROOT / "requirements.txt"), "-d", str(wheels)]
    subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments, *target], check=True)


class Machine:
    """A machine that is booted at the start of a `with` block and shut down at its end.

    Args:
        directory: an empty directory for its files.
        source: the checkout to install from; it is mounted as `/src`.
        suite: the release of Debian.
    """

    def __init__(self, directory: Path, source: Path, suite: str = BOOKWORM) -> None:
        self.root = directory / "root"
        self.source = source
        self._log = directory / "boot.log"
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._init_pid = 0
        self._cgroup: Cgroup | None = None
        tar, self._wheels = prepare_files(suite)
        self.root.mkdir()
        subprocess.run(("tar", "-C", str(self.root), "-xf", str(tar)), check=True)
        (self.root / "etc/hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
        self.write("/etc/systemd/system/gateway.service", GATEWAY)

    def __enter__(self) -> Self:
        self.boot()
        return self

    def __exit__(self, *_: object) -> None:
        self.shut_down()

    def boot(self) -> None:
        """Boot it, and wait until systemd has started all units."""
        command = (
            *("systemd-nspawn", "-D", str(self.root), "--register=no", "--keep-unit", "--private-network"),
            *("--console=passive", f"--bind-ro={self.source}:/src", f"--bind-ro={self._wheels}:/wheels"),
            # without these, systemd silently ignores IPAddressDeny=
            *("--capability=CAP_BPF,CAP_NET_ADMIN,CAP_PERFMON", "--system-call-filter=bpf", "-b"),
        )
        env = {**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
        self._cgroup = Cgroup()
        with self._log.open("wb") as log:
            self._nspawn = subprocess.Popen(
                self._cgroup.command_inside(command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=env,
                start_new_session=True,
            )
        self.wait_until(self._has_booted, "the machine does not boot")

    def _has_booted(self) -> bool:
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children") if self._nspawn else None
        pids = children.read_text().split() if children else []
        self._init_pid = int(pids[0]) if pids else 0
        return self._init_pid != 0 and self.run("systemctl", "is-system-running", check=False).stdout.strip() in (
            "running",
            "degraded",
        )

    def shut_down(self) -> None:
        """Shut it down as a power button does: systemd stops all units in order."""
        if self._nspawn is not None:
            self._nspawn.send_signal(signal.SIGTERM)
            self._nspawn.wait(TIMEOUT_S)
            self._nspawn = None
        if self._cgroup is not None:
            self._cgroup.remove()
            self._cgroup = None

    def run(self, *command: str, check: bool = True, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the machine.

        Raises:
            AssertionError: it failed; its output is in the message.
        """
        done = subprocess.run(
            ("nsenter", "-t", str(self._init_pid), "-a", *command),
            env={**INSIDE_ENV, **env},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S * 3,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def run_from_host(self, *command: str) -> None:
        """Run a program of the host in the network of the machine."""
        subprocess.run(("nsenter", "-t", str(self._init_pid), "-n", *command), check=True)

    def sh(self, script: str, *, check: bool = True) -> str:
        """Run a shell script in the machine. Returns what it prints."""
        return self.run("/bin/sh", "-c", script, check=check).stdout

    def install(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the installer of the checkout with these arguments."""
        return self.run("/bin/sh", "/src/deploy/install.sh", *arguments, check=check, **OFFLINE_ENV)

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file of the machine."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def read(self, path: str) -> str:
        """Read a file of the machine."""
        return (self.root / path.lstrip("/")).read_text()

    def wait_until(self, holds: Callable[[], bool], failure: str, timeout_s: float = TIMEOUT_S) -> None:
        """Wait until a condition holds.

        Raises:
            AssertionError: it does not hold in time; the message is `failure`.
        """
        end = time.monotonic() + timeout_s
        while not holds():
            assert time.monotonic() < end, failure
            time.sleep(0.05)

    # -- the bridge inside

    @property
    def key(self) -> str:
        """The key that the installer made."""
        lines = self.read("/opt/ibkr-bridge/.env").splitlines()
        return next(line.partition("=")[2] for line in lines if line.startswith("IBKR_BRIDGE_KEY="))

    def curl(self, path: str, *options: str, port: int = 8000) -> str:
        """Send a GET request to the bridge. Returns the body, and the status in a last line."""
        arguments = ("-s", "-m", "20", "-w", "\n%{http_code}", *options, f"http://127.0.0.1:{port}{path}")
        return self.run("curl", *arguments, check=False).stdout

    def curl_with_key(self, path: str, key: str | None = None) -> str:
        """Send a GET request with a key, by default the one of the installer. Returns the same as `curl`."""
        return self.curl(path, "-H", f"X-Bridge-Key: {key or self.key}")

    def wait_until_ready(self) -> None:
        """Wait until the brokerage session is open."""
        self.wait_until(
            lambda: '"authenticated": true' in self.curl("/gateway/auth-status"), "the session is not ready"
        )

    def seal(self) -> None:
        """Install the drop-in of the documentation that takes the network away from the bridge."""
        examples, units = "/opt/ibkr-bridge/current/deploy/systemd/examples", "/etc/systemd/system"
        self.sh(
            f"install -D -m 644 {examples}/sealed.conf {units}/ibkr-bridge.service.d/sealed.conf;"
            f"cp {examples}/ibkr-gateway-proxy.* {units}/; systemctl daemon-reload;"
            "systemctl enable --now ibkr-gateway-proxy.socket; systemctl restart ibkr-bridge"
        )
        self.wait_until_ready()

    def unit_property(self, name: str, unit: str = "ibkr-bridge.service") -> str:
        """A property of a unit, as `systemctl show` prints it."""
        return self.run("systemctl", "show", "-p", name, "--value", unit).stdout.strip()

    def exposure_level(self, unit: str = "ibkr-bridge.service") -> float:
        """The exposure level of the unit according to `systemd-analyze security`: 0 is best, 10 is worst."""
        last = self.sh(f"systemd-analyze security --no-pager {unit} | tail -n 1")
        return float(last.partition(": ")[2].split()[0])
