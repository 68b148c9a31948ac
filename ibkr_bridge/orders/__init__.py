"""Orders: the rules that may refuse them, the journal, the submitter, and the search for orders without a response."""
