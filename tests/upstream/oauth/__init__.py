"""Tests of the client of IBKR's Web API."""
