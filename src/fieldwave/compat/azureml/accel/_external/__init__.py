"""Where scripts find the utilities for detection."""
