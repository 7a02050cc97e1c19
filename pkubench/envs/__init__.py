"""Environments. They do not depend on tasks, agents or scores."""
