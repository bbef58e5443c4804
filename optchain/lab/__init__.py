"""The lab: train, tune and compare Flax models with chains of `optchain`. It needs the extra `lab`."""
