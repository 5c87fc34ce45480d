"""Several processes behind one port that serve as one."""
