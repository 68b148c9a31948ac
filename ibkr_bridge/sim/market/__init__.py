"""The market: what IBKR does, at its end of the wire.

server.py         HTTP in, HTTP out; what a call needs before it is served
table.py          every call
dispatch.py       what all calls share: MarketRequest, MarketResponse, Route
world.py          the complete state
sessions.py       who is signed in        session_calls.py   the calls about it
instruments.py    contracts               contracts.py, contract_rows.py: contract search
availability.py   delayed, frozen and missing quotes
quotes.py         prices, rates           quote_calls.py     snapshots and candles
holdings.py       what accounts hold first; lots.py: what a trade changes; money.py: what all is worth
accounting.py     the running accounts    accounts.py, portfolio.py
balances.py, balance_pages.py, positions.py, previews.py: how IBKR writes these figures
commissions.py    what a fill costs
book.py           orders and fills        tickets.py         what is accepted, and what is asked first
questions.py      the open question       order_calls.py, order_lists.py
misc_calls.py     notices, lists, scanners, performance
stream.py         the websockets          listener.py        one client's websocket
feeds/            what is streamed        lines.py           how many quotes may be open
pacing.py         IBKR's limits           tampering.py       responses spoilt by a fault
history_farm.py   the history servers
"""
