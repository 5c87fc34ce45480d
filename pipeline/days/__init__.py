"""Training that goes on day by day, each model judged by the day after its own."""
