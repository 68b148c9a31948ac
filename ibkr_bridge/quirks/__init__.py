"""Behaviours of IBKR that surprise callers, and how the bridge hides them: partial lists, required calls, pages."""
