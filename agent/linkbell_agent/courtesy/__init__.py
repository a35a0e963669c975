"""Not in the way of others: whether they use the line now, and what this box can see of them."""
