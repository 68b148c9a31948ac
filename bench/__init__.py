"""What the bridge costs, measured beside others in one run: `make bench`.

`__main__` runs it, `programs` says what is compared, `processes` starts it, `wrk` loads it, `report` writes the tables.
The yardsticks stand in one small file each: `passthrough.py`, `fastapi_httpx.py`, `nginx.conf`. The tests use none of
their packages.
"""
