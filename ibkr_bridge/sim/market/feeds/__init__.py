"""What IBKR streams: one module for each kind of feed that a socket can request.

protocol.py   how a topic is requested
table.py      which word starts or ends which feed
feed.py       what all feeds have in common
greetings.py  what is sent without a request
quotes.py     smd
charts.py     smh
ladders.py    sbd
orders.py     sor, str
money.py      spl, ssd, sld
"""
