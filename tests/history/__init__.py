"""Tests of `ibkr_bridge/history`."""
