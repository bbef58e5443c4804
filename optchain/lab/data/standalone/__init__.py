"""What the file of an exported model holds, to be loaded with NumPy and JAX alone: no module here imports any other."""
