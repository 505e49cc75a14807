"""Customer.io."""
