"""Large tables of which a step reads a few rows."""
