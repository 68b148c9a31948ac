"""What all upstreams that speak HTTP have in common: connections, deadlines, ghost calls, one sending of a change."""
