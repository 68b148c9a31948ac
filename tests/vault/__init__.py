"""Tests of `ibkr_bridge/sealing`."""
