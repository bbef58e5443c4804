"""What turns an update: masks, filters, grafts, noise."""
