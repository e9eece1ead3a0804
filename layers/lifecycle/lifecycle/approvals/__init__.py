"""Approvals of permanent deletes and plans: the people, the requests and the votes."""
