"""Conditions: everything that a person may have to know, made in one place and shown by all surfaces."""
