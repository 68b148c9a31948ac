"""nginx with the configuration of docs/security.md, in front of an app that passes the bridge's stream on."""

from __future__ import annotations

import asyncio
import re
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from bench.processes import free_port
from bench.programs import find_nginx
from ibkr_bridge.sim.simulator import Simulator
from tests.deploy.conftest import ROOT
from tests.harness import KEY, Harness, with_timeout

BLOCK = re.compile(r"```nginx\n(.*?)```", re.DOTALL)
NAME = "app.example"  # the name in the page
WHOLE = """daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{}}
http {{
    access_log {directory}/access.log;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    {server}
}}
"""

pytestmark = [
    pytest.mark.skipif(find_nginx() is None, reason="nginx is not installed: apt install nginx-light"),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed, which makes the certificate"),
]


def configuration(directory: Path, port: int, app_port: int) -> str:
    """The server of the page, with ports that are free here and a certificate that exists here."""
    (server,) = BLOCK.findall((ROOT / "docs" / "security.md").read_text())
    replacements = {
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "/etc/ssl/app.example": str(directory / NAME),
        "127.0.0.1:3001": f"127.0.0.1:{app_port}",
    }
    for documented, here in replacements.items():
        assert documented in server
        server = server.replace(documented, here)
    return WHOLE.format(directory=directory, server=server)


def make_certificate(directory: Path) -> None:
    """A certificate for the name of the page, signed by itself."""
    command = (
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
        *("-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}", "-days", "2"),
        *("-keyout", str(directory / f"{NAME}.key"), "-out", str(directory / f"{NAME}.pem")),
    )
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
async def app_port(harness: Harness) -> AsyncIterator[int]:
    """An app that adds the key and passes the stream of the session on, without the bridge's headers for proxies."""

    async def handle(request: web.Request) -> web.StreamResponse:
        async with aiohttp.ClientSession() as bridge:
            url, headers = f"{harness.bridge.url}/stream/session", {"X-Bridge-Key": KEY}
            async with bridge.get(url, headers=headers, timeout=aiohttp.ClientTimeout()) as stream:
                response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
                await response.prepare(request)
                with suppress(ConnectionResetError):  # the browser has left
                    async for piece in stream.content.iter_any():
                        await response.write(piece)
        return response

    application = web.Application()
    application.router.add_get("/stream", handle)
    runner = web.AppRunner(application, handler_cancellation=True)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield port
    await runner.cleanup()


@pytest.fixture
async def nginx_port(app_port: int, tmp_path: Path) -> AsyncIterator[int]:
    """The port of nginx in front of the app."""
    port = free_port()
    make_certificate(tmp_path)
    (tmp_path / "nginx.conf").write_text(configuration(tmp_path, port, app_port))
    process = await asyncio.create_subprocess_exec(
        *(find_nginx() or "nginx", "-p", str(tmp_path), "-c", "nginx.conf", "-e", str(tmp_path / "error.log"))
    )
    await with_timeout(wait_until_open(port, process))
    yield port
    process.terminate()
    await process.wait()


async def wait_until_open(port: int, process: asyncio.subprocess.Process) -> None:
    """Wait until nginx accepts connections, or has ended."""
    while True:
        assert process.returncode is None, "nginx has ended"
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return


async def read_until(stream: aiohttp.ClientResponse, wanted: bytes) -> None:
    """Read a stream until a line has these bytes."""
    while wanted not in await stream.content.readline():
        assert not stream.content.at_eof()


async def test_events_pass_nginx_at_once(nginx_port: int, sim: Simulator, tmp_path: Path) -> None:
    """A proxy that collects a response before it sends it would show a loss of the session after minutes."""
    trusted = ssl.create_default_context(cafile=str(tmp_path / f"{NAME}.pem"))
    url, headers = f"https://127.0.0.1:{nginx_port}/stream", {"Host": NAME}
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as browser,
        browser.get(url, headers=headers, ssl=trusted, server_hostname=NAME) as stream,
    ):
        assert stream.status == 200
        await with_timeout(read_until(stream, b'"ready"'))
        sim.log_out()
        await with_timeout(read_until(stream, b'"signed_out"'))
