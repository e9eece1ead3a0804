"""What finishes in Tallyfy is archived, restored or deleted here, once per intent, with a reason."""
