"""Tests of `ibkr_bridge/alerts`."""
