"""What has happened in the last 90 days: each condition with its beginning and end, and the states of the sessions.

The board of conditions and the keepers report changes; a thread writes them to a small SQLite file in the state
directory. Availability is computed from it: how much of the trading hours the session was ready.
"""
