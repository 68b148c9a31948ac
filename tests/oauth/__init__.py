"""Tests of `ibkr_bridge/oauth`."""
