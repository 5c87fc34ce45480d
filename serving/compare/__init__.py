"""Two versions on the same requests, or logged requests beside training rows."""
