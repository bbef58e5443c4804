"""Means of gradients over devices, of which only a part is sent."""
