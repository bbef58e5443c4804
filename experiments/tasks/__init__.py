"""The tasks of these experiments, one a file, as anybody's own: `use = "digits.py:Digits"`."""
