"""Pictures of what techniques do, drawn by code."""
