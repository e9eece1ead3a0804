"""Who may approve a permanent delete, the requests and the votes."""
