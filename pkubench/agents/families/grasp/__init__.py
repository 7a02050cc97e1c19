"""Agents that grasp: scripts of a lift, and the search that finds them."""
