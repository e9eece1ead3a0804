"""The conditions of a permanent delete: the safeguards, the export and its manifest."""
