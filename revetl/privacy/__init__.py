"""Privacy requests: erase and suppress people in the warehouse and at destinations."""
