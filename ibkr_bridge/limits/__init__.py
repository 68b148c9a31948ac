"""Being a polite caller: what IBKR and the Gateway can carry, no more, and no question twice."""
