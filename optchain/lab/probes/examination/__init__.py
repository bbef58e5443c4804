"""What a trained model bears, how sure it may be, and what it looks at."""
