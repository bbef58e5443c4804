"""Functions of the step."""
