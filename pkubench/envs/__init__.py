"""Worlds. They know nothing of tasks, agents or scores."""
