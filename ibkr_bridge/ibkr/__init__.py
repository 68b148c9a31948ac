"""What is known of IBKR's API: the catalogue of endpoints with limits and sources, and the forms of its responses."""
