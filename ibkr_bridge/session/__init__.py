"""The session: its state machine, the keeper's loop, the calls after each opening, and IBKR's maintenance windows."""
