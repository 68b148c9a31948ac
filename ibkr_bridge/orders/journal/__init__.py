"""The journal: an append-only, sealed SQLite file in which an order is written before its first byte leaves."""
