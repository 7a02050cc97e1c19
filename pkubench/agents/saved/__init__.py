"""Saved agents, run folders and populations on disk."""
