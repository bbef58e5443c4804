"""What is faster than what, as ratios of times measured in one run beside the compiler's own counts."""
