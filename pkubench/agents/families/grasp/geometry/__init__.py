"""Geometry of tasks: codes of clouds, clusters of tasks, and the order they are learned in."""
