"""The audit trail: the chain of records, where they are stored, and the hourly seal."""
