"""Tables of a warehouse or database."""
