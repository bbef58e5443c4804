"""Chains as data: built from tables, named."""
