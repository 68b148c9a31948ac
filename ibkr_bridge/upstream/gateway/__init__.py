"""The Client Portal Gateway as an upstream: its client, connections, cookies, TLS and websocket."""
