"""Whole learners and their parts: rollouts, replay, advantages, update rules, constraints."""
