"""Techniques that remember the gradients: momentum, Adagrad, RMSProp, Adam, Lion."""
