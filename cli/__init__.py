"""The operator's side: the `lifecycle` command and the embedded stack. Nothing here is deployed."""
