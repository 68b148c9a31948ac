"""From a Python program to the bridge: a call written down, the road it takes, the answer it brings."""
