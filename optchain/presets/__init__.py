"""Full optimizers: chains of techniques, where the mathematics is documented."""
