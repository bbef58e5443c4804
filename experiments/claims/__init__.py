"""Claims about tuning, each measured: `python -m experiments claims`."""
