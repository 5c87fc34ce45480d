"""What to serve and within what limits; TF Serving's own configuration files."""
