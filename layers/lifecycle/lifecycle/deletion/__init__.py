"""What must hold before a permanent delete: safeguards, the export and its manifest."""
