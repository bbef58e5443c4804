"""Updates of several clients, combined into one: averaged, robust to bad ones, private, or added up in secret."""
