"""No order by accident: the rules that refuse before a byte leaves."""
