"""Streams: the bridge reads IBKR's websocket once and sends each subscriber its part."""
