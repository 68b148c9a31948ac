"""Alerts: a person hears of each condition that begins, and of its end.

This is a program of its own, `bridge.py alerts`: the daemon may reach nothing but loopback, a service that hangs cannot
slow it, and a bridge that is down can be told too. The program asks the bridge for the changes of its conditions, keeps
note of what it has told, and sends messages by Apprise.
"""
