"""How HTTP is served: connections, the checks before a handler, keys and tokens, errors as problem+json, and drain.

It knows no route: the table of routes and the handlers are passed in.
"""
