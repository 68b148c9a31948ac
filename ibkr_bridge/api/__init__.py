"""What callers can request: the table of our own routes, their handlers, and the pass-through to IBKR's API.

This is the only package that names paths of our own. A new route is one row in `routes.py` and one handler.
"""
