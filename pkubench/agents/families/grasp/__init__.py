"""What agents that grasp are made of."""
