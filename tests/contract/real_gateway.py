"""The real Gateway in front of the simulator's market: a copy of the user's own folder, run and then deleted.

Nothing can leave this machine: the program can resolve one name, `api.cpgw.test`, to an address of loopback. The market
listens there on 443, since the program's websocket client always uses that port, with a certificate made for this run.
It needs a folder with the Gateway, Java, openssl and the right to listen on 443. `missing_for_real_gateway` says what
is missing.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ibkr_bridge.sim.faults import KINDS, Fault, Faults, Side
from ibkr_bridge.sim.gateway.rules import Settings
from ibkr_bridge.sim.market_stage import MarketStage, browser_tls
from ibkr_bridge.sim.request_log import LoggedRequest

REMOTE = "api.cpgw.test"  # has to contain "api", else the program's own calls go elsewhere
PASSWORD = "changeit"  # of a file that holds one public certificate
START_TIMEOUT_S = 30.0  # seconds for a Java program to come up on a busy machine
AUTH_DELAY_S = 0.2  # seconds; 3 as shipped
REAL_TICKLE_INTERVAL_S = 30.0  # seconds; its configuration cannot change that
PROGRAMS = ("java", "keytool", "openssl", "bash")


def missing_for_real_gateway(folder: str | None) -> str | None:
    """What is missing to run a real Gateway, as a message; None if nothing is missing."""
    if not folder:
        return "no real Gateway: name your copy of it, CPGW_DIR=/path/to/clientportal.gw"
    if not all((Path(folder) / part).exists() for part in ("bin/run.sh", "root/conf.yaml", "dist")):
        return f"no Gateway in CPGW_DIR: {folder} has no bin/run.sh, root/conf.yaml and dist"
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        return f"a real Gateway cannot be run here without {', '.join(missing)}"
    with socket.socket() as trial:
        try:
            trial.bind(("127.0.0.1", 443))
        except PermissionError:
            return "a real Gateway needs its market on port 443 of loopback: run this as root"
        except OSError:
            return None  # in use on this address; the market uses another one
    return None


@dataclass(frozen=True)
class Certificates:
    """The market's certificate, and the trust store with which the program accepts it; made once for a test run."""

    folder: Path

    @classmethod
    def create(cls, folder: Path) -> Certificates:
        """Create a key, a certificate for the market's name, and a Java trust store with it."""
        key, certificate, truststore = folder / "key.pem", folder / "certificate.pem", folder / "trust.p12"
        name = ("-subj", f"/CN={REMOTE}", "-addext", f"subjectAltName=DNS:{REMOTE}")
        openssl = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *name)
        _run_command(*openssl, "-keyout", str(key), "-out", str(certificate))
        keystore = ("-keystore", str(truststore), "-storetype", "PKCS12", "-storepass", PASSWORD, "-noprompt")
        _run_command("keytool", "-importcert", "-alias", "market", "-file", str(certificate), *keystore)
        return cls(folder)

    def server_context(self) -> ssl.SSLContext:
        """The TLS context with which the market listens."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "certificate.pem", self.folder / "key.pem")
        return context

    @property
    def java_options(self) -> str:
        """Java's options to trust only this certificate."""
        return f"-Djavax.net.ssl.trustStore={self.folder / 'trust.p12'} -Djavax.net.ssl.trustStorePassword={PASSWORD}"


class MarketFaults(Faults):
    """Faults behind a real Gateway. A test that needs a fault inside the Gateway is skipped for the real one."""

    def add(self, kind: str, **options: Any) -> Fault:
        """See `Faults.add`."""
        if KINDS[kind].side is Side.SOCKET or kind == "ibkr-down":
            pytest.skip(f"a real Gateway cannot simulate this: {KINDS[kind].description}")
        return super().add(kind, **options)


class RealGateway(MarketStage):
    """A real Gateway on a free port of loopback, and the market behind it.

    Args:
        source: the user's folder; it is only read.
        home: an empty folder for the copy that runs.
        certificates: those of the market.
        address: the loopback address where the market listens; each Gateway has its own.
        options: `settings` of the Gateway, and the arguments of `MarketStage`.
    """

    def __init__(self, source: Path, home: Path, certificates: Certificates, address: str, **options: Any) -> None:
        self._configuration = _configuration_lines(options.pop("settings", None) or Settings())
        super().__init__(faults=MarketFaults(), **options)
        self._source, self._home, self._certificates, self._address = source, home, certificates, address
        self._process: asyncio.subprocess.Process | None = None
        self._port = 0

    @property
    def port(self) -> int:
        """See `MarketStage.port`."""
        return self._port

    async def start(self) -> None:
        """Start the market, then the program, and wait until it accepts connections."""
        await self.market.start(self._address, 443, self._certificates.server_context())
        self._port = _free_port()
        self._create_folder()
        await self._start_process()

    async def stop(self) -> None:
        """Stop the market and the program."""
        await self._tasks.stop()
        await self.market.stop()  # first, so that connections can end while the program ends
        await self._end_process()

    async def restart(self) -> None:
        """See `MarketStage.restart`."""
        await self._end_process()
        await self._start_process()

    def gateway_calls(self, part: str = "") -> list[LoggedRequest]:
        """The clients' calls that reached IBKR; those that only reached the program are not known."""
        return [logged for logged in self.calls(part) if not logged.is_own_call]

    def log_in(self) -> None:
        """Start a task that requests the login pages."""
        self._tasks.start(self.log_in_by_browser(), name="login")

    @property
    def _event_actions(self) -> Mapping[str, Callable[[], object]]:
        return {**super()._event_actions, "refuse": self._kill_process}

    @property
    def _undo_actions(self) -> Mapping[str, Callable[[], None]]:
        return {**super()._undo_actions, "refuse": self._start_again}

    def _kill_process(self) -> None:
        """Kill the program, which closes its port and its connections at once."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)

    def _start_again(self) -> None:
        async def back() -> None:
            await self.restart()
            await self.log_in_by_browser()

        self._tasks.start(back(), name="come back")

    def _create_folder(self) -> None:
        """Create the program's folder: its configuration with a few lines changed, and links to the rest."""
        for part in ("bin", "build", "dist"):
            (self._home / part).symlink_to(self._source / part)
        shutil.copytree(self._source / "root", self._home / "root")
        conf = self._home / "root" / "conf.yaml"
        conf.chmod(0o600)
        conf.write_text(replace_keys(conf.read_text(), {"listenPort": str(self._port), **self._configuration}))
        (self._home / "hosts").write_text(f"{self._address} {REMOTE}\n")

    async def _start_process(self) -> None:
        options = f"-Xmx128m -Djdk.net.hosts.file={self._home / 'hosts'} {self._certificates.java_options}"
        self._process = await asyncio.create_subprocess_exec(
            *("bash", "bin/run.sh", "root/conf.yaml"),
            cwd=self._home,
            env={"PATH": os.environ["PATH"], "JAVA_TOOL_OPTIONS": options, "HOME": str(self._home)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,  # all processes of the script hold it open, so it ends when they have ended
            stderr=subprocess.STDOUT,
            start_new_session=True,  # the script's Java is ended together with it
        )
        await self._wait_for_port()

    async def _wait_for_port(self) -> None:
        """Wait until the port accepts a connection; the program prints its message too early."""
        async with asyncio.timeout(START_TIMEOUT_S):
            while True:
                with suppress(OSError, ssl.SSLError):
                    _, writer = await asyncio.open_connection("127.0.0.1", self._port, ssl=browser_tls())
                    writer.transport.abort()
                    return
                await asyncio.sleep(0.1)  # another process: only its port can show that it is ready

    async def _end_process(self) -> None:
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        if self._process.stdout is not None:
            await self._process.stdout.read()  # the script ends before its Java does
        await self._process.wait()
        self._process = None


def _configuration_lines(settings: Settings) -> Mapping[str, str]:
    lists = (("allow", settings.allow), ("deny", settings.deny))
    ips = [
        f"  {name}: [{', '.join(repr(each) for each in addresses)}]"
        for name, addresses in lists
        if addresses is not None
    ]
    return {
        "proxyRemoteHost": f'"https://{REMOTE}"',
        "authDelay": str(round(AUTH_DELAY_S * 1000)),
        "cors": f"\n  origin.allowed: '{settings.cors}'\n  allowCredentials: false",
        "ips": "\n" + "\n".join(ips),
    }


def replace_keys(text: str, lines: Mapping[str, str]) -> str:
    """Replace the value of each of these keys in a configuration, with all that is indented below the key."""
    for name, value in lines.items():
        text = re.sub(rf"^{name}:.*\n(?:[ \t].*\n?|\s*\n)*", "", text + "\n", flags=re.MULTILINE)
        text = f"{text.rstrip()}\n{name}: {value}\n"
    return text


def _free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


def _run_command(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
