"""The Gateway: the Java program's twin, byte for byte as stubborn.

server.py      TLS, connections, start and stop      talk.py       one client's connection
wire.py        reading HTTP within its limits         answering.py  from a request to its answer, or to silence
rules.py       what it answers by itself, what goes on, and how it is changed
jar.py         the one cookie jar                     upstream.py   five slots and an endless queue
life.py        what it does unasked: login chain, tickle, logout
"""
