"""What follows from many agents together."""
