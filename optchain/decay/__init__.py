"""Weight decay and penalties: decoupled, coupled, proximal."""
