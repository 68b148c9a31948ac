"""The rules that refuse an order before anything is sent, and the facts and prices that they need."""
