"""The commands of `python -m experiments`, one a file: its options, and what it does. What is heavy is imported when a
command runs."""
