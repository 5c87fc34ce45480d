"""What stands in a workspace: the record of runs, locks, lineage, what may go."""
