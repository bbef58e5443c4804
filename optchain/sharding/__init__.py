"""How parameters and states are laid out on a mesh."""
