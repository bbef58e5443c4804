"""The experiments of the project itself: its claims and its benchmarks."""
