"""Parameters of equal treatment in one array each."""
