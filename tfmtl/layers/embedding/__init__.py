"""From declared features to vectors."""
