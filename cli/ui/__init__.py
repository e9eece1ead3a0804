"""The user interface: tables, options, exit codes and errors."""
