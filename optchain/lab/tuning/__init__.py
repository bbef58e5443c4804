"""The search for good configurations: `optchain tune`."""
