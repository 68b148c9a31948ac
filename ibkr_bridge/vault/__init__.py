"""Secrets at rest are sealed: encrypted so that nobody can read or change them without a key, nor move one to another
user. Pure: random bytes and keys are passed in or drawn by `cryptography`.
"""
