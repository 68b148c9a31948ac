"""The operator's page at `/`: what a person sees of the bridge in a browser.

`bridge.py open` requests a token for the page. The page trades it for a cookie that opens the routes under `/page`
alone, and ends with the token. One stream of Server-Sent Events brings everything that the page shows.
"""
