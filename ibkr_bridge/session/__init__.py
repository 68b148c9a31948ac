"""Staying signed in: the rules, the loop that follows them, what is replayed after opening, and IBKR's calendar."""
