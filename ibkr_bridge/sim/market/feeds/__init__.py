"""What IBKR streams: one module for each sort of thing a socket can ask to be told.

words.py   how it is asked            feed.py     what all feeds have in common
table.py   which word begins or ends which
quotes.py  smd    charts.py  smh      ladders.py  sbd
orders.py  sor, str                   money.py    spl, ssd, sld
"""
