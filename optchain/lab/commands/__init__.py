"""The commands of `optchain`, one a file: its options, and what it does; what is heavy is imported when one runs."""
