"""How fast Tallyfy may be called, and how long to wait before the next attempt."""
