"""Short trainings that find a rate or a batch size."""
