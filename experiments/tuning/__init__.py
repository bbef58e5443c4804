"""The search for good configurations: `python -m experiments tune`."""
