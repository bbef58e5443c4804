"""Learning rates and initial sizes that follow from a smaller model: maximal update parametrization."""
