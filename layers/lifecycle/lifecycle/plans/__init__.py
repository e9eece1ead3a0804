"""A plan of a sweep: the inventory, the limits, the file, the report and the executor."""
