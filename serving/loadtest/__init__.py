"""A load test with open-loop arrivals, and its report."""
