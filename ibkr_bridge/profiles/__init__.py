"""One IBKR username and all its parts: its upstream, session, limits, cache, journal and streams.

The capabilities below do not know each other; `factory.py` builds them, joins them, and lists the stages of a call.
"""
