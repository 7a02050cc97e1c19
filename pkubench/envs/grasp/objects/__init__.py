"""Objects to grasp: convex parts, named families, splits, resting poses and surface points."""
