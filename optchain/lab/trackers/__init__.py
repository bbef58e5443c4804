"""Trackers: where else a run writes its rows, such as TensorBoard. One file for each program, one protocol."""
