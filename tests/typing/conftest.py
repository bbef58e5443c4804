"""The files that a type checker reads are no test modules."""

collect_ignore = ["mistakes.py", "uses.py"]
