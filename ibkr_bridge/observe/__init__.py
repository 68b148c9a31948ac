"""How we know: logs, the pulse of the event loop, and what systemd is told."""
