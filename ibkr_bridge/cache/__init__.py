"""The cache: identical reads that run at the same time are one call, and a fresh response is returned again."""
