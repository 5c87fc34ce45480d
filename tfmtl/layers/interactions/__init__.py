"""Feature interactions, which go below any structure or serve as its experts."""
