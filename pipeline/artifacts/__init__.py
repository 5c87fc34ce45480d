"""What stages hand to each other: how it is laid out, written and read."""
