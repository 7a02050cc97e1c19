"""Named families of objects: each is a function from random numbers to convex solids."""

from pkubench.envs.grasp.objects.families import (
    containers,
    food,
    furniture,
    household,
    tools,
    toys,
)
from pkubench.envs.grasp.objects.families.registry import FAMILIES, Family

__all__ = ["FAMILIES", "Family", "containers", "food", "furniture", "household", "tools", "toys"]
