"""Between IBKR's JSON and the shapes of the plain API: rows become structs, and tickets become IBKR's orders.

Everything here is pure. The handlers of `api/plain` fetch and send; they know no name of IBKR's. What IBKR sends is
broken until parsed: a member may be missing, of another type, or text where a number belongs, and then the value is
unknown, never wrong.
"""
