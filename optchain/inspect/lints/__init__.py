"""What `lint` checks: one small function for each mistake, by theme."""
