"""When a step is taken: accumulation, guards, plateaus."""
