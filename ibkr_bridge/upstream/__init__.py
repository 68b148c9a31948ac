"""The ways to reach IBKR. Today there is one: the Client Portal Gateway."""
