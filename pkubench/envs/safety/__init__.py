"""Worlds with a cost beside the reward: constrained (safe) reinforcement learning."""
