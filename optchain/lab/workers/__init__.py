"""Training by workers in processes of their own, and the server that they meet."""
