"""The plain API: accounts, positions, quotes and orders with symbols, decimals as text and times in UTC.

A handler here fetches through all stages of the profile, hands IBKR's JSON to `translation`, and sends a struct of
`models`. It knows no name of IBKR's.
"""
