"""Commands, answers and approvals in chat tools."""
