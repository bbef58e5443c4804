"""A race of optimizers over several tasks: which one to try first."""
