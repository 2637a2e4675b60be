"""The `dr` command: each subcommand in a module of its own; nothing here is imported by the other packages."""
