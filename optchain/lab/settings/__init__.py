"""The typed tables of configuration files, and how they are read."""
