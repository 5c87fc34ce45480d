"""From the events of a row to one vector."""
