"""`make demo`: the steps by subject, what they share, and how they are played."""
