"""A Debian that really boots, with systemd as its first process, in a container of `systemd-nspawn`.

It has a network of its own (loopback alone), so nothing inside is in anybody's way, and nothing leaves. What is made
once is kept in `.system/` beside the README: the root as a tar file, and the packages Python needs.
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
KEPT = ROOT / ".system"
BOOKWORM, TRIXIE = "bookworm", "trixie"
PYTHONS = {BOOKWORM: "3.11", TRIXIE: "3.13"}
PACKAGES = "systemd,systemd-sysv,dbus,python3,python3-venv,curl,ca-certificates,iproute2"
TOOLS = ("debootstrap", "systemd-nspawn", "nsenter", "ip", "tar", "git")
WITHIN = 60.0  # seconds for anything the machine does
INSIDE = {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8"}
OFFLINE = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/wheels"}
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


def lacking() -> str | None:
    """Why no machine can be booted here; None where one can."""
    if os.geteuid() != 0:
        return "it takes root"
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return f"{', '.join(missing)} is missing: apt install debootstrap systemd-container iproute2 git"
    apart = subprocess.run(("unshare", "--mount", "--net", "--pid", "--fork", "true"), check=False, capture_output=True)
    if apart.returncode:
        return "namespaces of one's own are not permitted here"
    try:
        Cgroup().remove()
    except OSError:
        return "no control group of one's own can be made here"
    try:
        prepared(BOOKWORM)
    except subprocess.CalledProcessError as exc:
        return f"`{exc.cmd[0]}` could not fetch what it needs"
    return None


def prepared(suite: str) -> tuple[Path, Path]:
    """The root of a release of Debian as a tar file and the packages, made where they are not there yet.

    Raises:
        subprocess.CalledProcessError: neither could be fetched.
    """
    KEPT.mkdir(exist_ok=True)
    tar, wheels = KEPT / f"{suite}.tar", KEPT / f"wheels-{PYTHONS[suite]}"
    if not tar.exists():
        fresh = KEPT / suite
        shutil.rmtree(fresh, ignore_errors=True)
        command = ("debootstrap", "--variant=minbase", f"--include={PACKAGES}", suite, str(fresh))
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        subprocess.run(("tar", "-C", str(fresh), "-cf", f"{tar}.new", "."), check=True)
        Path(f"{tar}.new").replace(tar)
        shutil.rmtree(fresh)
    _fetch(wheels, PYTHONS[suite])
    return tar, wheels


def _fetch(wheels: Path, python: str) -> None:
    """The packages for a Python of Debian, by their hashes."""
    machine = platform.machine()
    kinds = [f"--platform={kind}_{machine}" for kind in ("manylinux_2_17", "manylinux2014", "manylinux_2_28", "linux")]
    which = ["--only-binary=:all:", f"--python-version={python}", "--implementation=cp", *kinds]
    words = ["download", "--quiet", "--require-hashes", "-r", str(ROOT / "requirements.txt"), "-d", str(wheels)]
    subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", *words, *which], check=True)


class Machine:
    """One machine, booted and shut down.

    Args:
        place: an empty directory for its files.
        source: what it sees as `/src`, the checkout to install from.
        suite: the release of Debian.
    """

    def __init__(self, place: Path, source: Path, suite: str = BOOKWORM) -> None:
        self.root = place / "root"
        self.source = source
        self._log = place / "boot.log"
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._first = 0
        self._cgroup: Cgroup | None = None
        tar, self._wheels = prepared(suite)
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
        """Switch it on, and wait until systemd has started everything."""
        command = (
            *("systemd-nspawn", "-D", str(self.root), "--register=no", "--keep-unit", "--private-network"),
            *("--console=passive", f"--bind-ro={self.source}:/src", f"--bind-ro={self._wheels}:/wheels"),
            # else the filters of IPAddressDeny= are silently left out
            *("--capability=CAP_BPF,CAP_NET_ADMIN,CAP_PERFMON", "--system-call-filter=bpf", "-b"),
        )
        env = {**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
        self._cgroup = Cgroup()
        with self._log.open("wb") as log:
            self._nspawn = subprocess.Popen(
                self._cgroup.entered_by(command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=env,
                start_new_session=True,
            )
        self.until(self._has_booted, "the machine does not boot")

    def _has_booted(self) -> bool:
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children") if self._nspawn else None
        found = children.read_text().split() if children else []
        self._first = int(found[0]) if found else 0
        return self._first != 0 and self.run("systemctl", "is-system-running", check=False).stdout.strip() in (
            "running",
            "degraded",
        )

    def shut_down(self) -> None:
        """As a power button does: systemd ends everything in order."""
        if self._nspawn is not None:
            self._nspawn.send_signal(signal.SIGTERM)
            self._nspawn.wait(WITHIN)
            self._nspawn = None
        if self._cgroup is not None:
            self._cgroup.remove()
            self._cgroup = None

    def run(self, *words: str, check: bool = True, **env: str) -> subprocess.CompletedProcess[str]:
        """A command inside.

        Raises:
            AssertionError: it failed; its words are in the message.
        """
        done = subprocess.run(
            ("nsenter", "-t", str(self._first), "-a", *words),
            env={**INSIDE, **env},
            capture_output=True,
            text=True,
            timeout=WITHIN * 3,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        assert not check or done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def outside(self, *words: str) -> None:
        """A tool of the host in the machine's network."""
        subprocess.run(("nsenter", "-t", str(self._first), "-n", *words), check=True)

    def sh(self, script: str, *, check: bool = True) -> str:
        """A line of shell inside; what it prints."""
        return self.run("/bin/sh", "-c", script, check=check).stdout

    def install(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """The installer, from the checkout."""
        return self.run("/bin/sh", "/src/deploy/install.sh", *words, check=check, **OFFLINE)

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """A file inside."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def read(self, path: str) -> str:
        """A file inside."""
        return (self.root / path.lstrip("/")).read_text()

    def until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait until something holds.

        Raises:
            AssertionError: it does not, after a minute.
        """
        end = time.monotonic() + WITHIN
        while not holds():
            assert time.monotonic() < end, what
            time.sleep(0.05)

    # -- the bridge inside

    @property
    def key(self) -> str:
        """The key the installer made."""
        lines = self.read("/opt/ibkr-bridge/.env").splitlines()
        return next(line.partition("=")[2] for line in lines if line.startswith("IBKR_BRIDGE_KEY="))

    def curl(self, path: str, *words: str, port: int = 8000) -> str:
        """What the bridge says; the status stands in the last line."""
        written = ("-s", "-m", "20", "-w", "\n%{http_code}", *words, f"http://127.0.0.1:{port}{path}")
        return self.run("curl", *written, check=False).stdout

    def keyed(self, path: str, key: str | None = None) -> str:
        """The same with the key."""
        return self.curl(path, "-H", f"X-Bridge-Key: {key or self.key}")

    def until_ready(self) -> None:
        """Wait until the brokerage session is open."""
        self.until(lambda: '"authenticated": true' in self.curl("/gateway/auth-status"), "no session")

    def seal(self) -> None:
        """Take the bridge's network away, by the drop-in of the docs."""
        examples, units = "/opt/ibkr-bridge/current/deploy/systemd/examples", "/etc/systemd/system"
        self.sh(
            f"install -D -m 644 {examples}/sealed.conf {units}/ibkr-bridge.service.d/sealed.conf;"
            f"cp {examples}/ibkr-gateway-proxy.* {units}/; systemctl daemon-reload;"
            "systemctl enable --now ibkr-gateway-proxy.socket; systemctl restart ibkr-bridge"
        )
        self.until_ready()

    def shown(self, name: str, unit: str = "ibkr-bridge.service") -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", "-p", name, "--value", unit).stdout.strip()

    def score(self, unit: str = "ibkr-bridge.service") -> float:
        """What `systemd-analyze security` says of the running unit; 0 is best."""
        last = self.sh(f"systemd-analyze security --no-pager {unit} | tail -n 1")
        return float(last.partition(": ")[2].split()[0])
