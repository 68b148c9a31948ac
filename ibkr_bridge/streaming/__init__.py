"""One socket in, many out: IBKR's stream, read once and shared by every caller that wants a part of it."""
