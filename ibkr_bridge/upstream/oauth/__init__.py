"""IBKR's Web API without a Gateway: calls are signed, and access is renewed by computation alone."""
