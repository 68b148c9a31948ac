"""The market: what IBKR does, at its end of the wire.

server.py         HTTP in, HTTP out; what a call needs before it is served
table.py          every call
dispatch.py       what all calls share: MarketRequest, MarketResponse, Route
world.py          the complete state
sessions.py       who is signed in        session_calls.py   the calls about it
quotes.py         prices                  quote_calls.py     snapshots and candles
holdings.py       what accounts hold      accounts.py, portfolio.py
book.py           orders and fills        tickets.py         what is accepted, and what is asked first
questions.py      the open question       order_calls.py, order_lists.py
contracts.py      contract search         misc_calls.py      notices, lists, scanners, performance
stream.py         the websockets          listener.py        one client's websocket
feeds/            what is streamed        lines.py           how many quotes may be open
pacing.py         IBKR's limits           tampering.py       responses spoilt by a fault
history_farm.py   the history servers
"""
