"""How far a step goes: a factor, the learning rate."""
