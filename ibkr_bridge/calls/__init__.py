"""What a call is: its messages, its context on the way through the stages, and the ports of stages and upstreams."""
