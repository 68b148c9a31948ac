"""The simulated Gateway: it behaves on the wire as the Java program does, byte for byte.

server.py              TLS, connections, start and stop
connection.py          one client's connection
wire.py                reading and writing HTTP within the Gateway's limits
responder.py           from a request to its response, or to silence
rules.py               what it answers by itself, what it forwards, and what it changes on the way
jar.py                 the one cookie jar
upstream.py            five slots and a queue without a limit
sockets.py, frames.py  websockets
session_lifecycle.py   what it does by itself: login chain, tickle, logout
"""
