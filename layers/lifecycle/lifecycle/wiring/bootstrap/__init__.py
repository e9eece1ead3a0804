"""The only place that builds adapters: a module for each kind of function, so that none imports what it never uses."""
