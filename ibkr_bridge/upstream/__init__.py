"""The road to IBKR: one Gateway, asked with deadlines of our own, and the cookies it sets."""
