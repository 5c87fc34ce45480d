"""What the columns of a split hold: the Beam job, and the parts that add up."""
