"""Write the TypeScript client as the one file that `GET /client.ts` serves: `python -m tools.typescript_client`.

An app copies that file instead of installing the package. It has the modules of the package in the order in which they
need each other, without the hooks for React.
"""

from __future__ import annotations

import re
from pathlib import Path

from ibkr_bridge import VERSION
from ibkr_bridge.api.documents import CLIENT_FILE

SOURCE = Path(__file__).resolve().parents[1] / "clients" / "typescript" / "src"
MODULES = (
    "schema",
    "types",
    "errors",
    "settings",
    "transport",
    "topics",
    "events",
    "routes",
    "bridge",
    "connection-routes",
    "admin",
)
OWN_IMPORT = re.compile(r'^import [^;]*? from "\./[^"]+";\n', re.MULTILINE)
HEAD = """\
// IBKR Bridge for TypeScript, version {version}: the package @ibkr-bridge/client as one file, without its React hooks.
// The bridge serves it at GET /client.ts. Save it as lib/bridge.ts and write: export const bridge = createBridge();
// It belongs on the app's server: the key must never reach a browser.

"""


def text() -> str:
    """The text of the file."""
    return HEAD.format(version=VERSION) + "\n".join(map(_module, MODULES))


def _module(name: str) -> str:
    """One module without its imports of the others, whose names are in the same file."""
    return OWN_IMPORT.sub("", (SOURCE / f"{name}.ts").read_text("utf-8"))


if __name__ == "__main__":
    CLIENT_FILE.write_text(text(), "utf-8")
