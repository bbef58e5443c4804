"""In which precision parameters and slots are stored."""
