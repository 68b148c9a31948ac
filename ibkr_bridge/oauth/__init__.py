"""OAuth 1.0a as IBKR's Web API wants it: base strings, signatures, and the live session token. Pure.

Sources: IBKR, "OAuth at Interactive Brokers" (16 May 2018); IBKR's documentation of 2026, authentication/oauth-1a.
No library fits: IBKR's handshake puts the decrypted token secret before the base string, and derives the key of all
further signatures by a Diffie-Hellman exchange. Nobody of this project has tried it against a live account.
"""
