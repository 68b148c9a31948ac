"""The shapes of the plain API: what its requests and answers look like, as typed structs.

Validation, JSON and the schemas of the OpenAPI document are all derived from them (msgspec does the three, in C, and
has no dependencies). The server, the Python client and the documentation use the same classes. Money, prices and sizes
are decimals, which are strings in JSON: a float would lose cents. Times are UTC. A member is never missing: what IBKR
does not know is null.
"""
