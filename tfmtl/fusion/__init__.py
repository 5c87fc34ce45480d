"""From the scores of the tasks to one score to rank by: weights chosen for a goal.

`Lists` tells what the top of logged lists earns under given weights, `search` finds the
weights that earn the most of the goal without losing of what must be kept. The weights
go into `tfmtl.export(fused_score=...)`.
"""

from tfmtl.fusion.lists import Gain, Lists
from tfmtl.fusion.search import Found, InfeasibleError, Point, pareto_front, search

__all__ = [
    "Found",
    "Gain",
    "InfeasibleError",
    "Lists",
    "Point",
    "pareto_front",
    "search",
]
