"""What a person sees: tables, options, exit codes, errors."""
