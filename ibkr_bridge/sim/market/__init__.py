"""The market: IBKR's end of the wire.

server.py         HTTP in, HTTP out; what a call needs before it is served
table.py          every call there is
asking.py         the words they share: Ask, Answer, Route
world.py          the whole state
sessions.py       who is signed in        session_calls.py   the calls about it
quotes.py         what things cost        quote_calls.py     snapshots and candles
holdings.py       what accounts hold      accounts.py, portfolio.py
book.py           orders and fills        tickets.py         what is accepted, and what is asked back
desk.py           the question that hangs order_calls.py, order_lists.py
contracts.py      looking things up       odds.py            notices, lists, scanners, performance
stream.py         the websocket           listener.py        one client's end of it
feeds/            what is streamed        lines.py           how many quotes may be open
pacing.py         IBKR's limits           tampering.py       answers spoilt by a fault
"""
