"""One file for each command of `lifecycle`."""
