"""The lab from Python: the same trainings, studies and comparisons on objects instead of files."""
