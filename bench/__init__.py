"""Measure what the bridge costs, beside other programs in the same run: `make bench`.

`__main__` runs the measurements, `programs` lists what is compared, `processes` starts it, `wrk` makes the load and
`report` writes the tables. Each yardstick is one small file: `passthrough.py`, `fastapi_httpx.py`, `nginx.conf`. The
tests need none of the packages that the yardsticks use.
"""
