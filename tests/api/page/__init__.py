"""Tests of `ibkr_bridge/api/page`."""
