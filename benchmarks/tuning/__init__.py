"""Choices of settings: what was compared, on which training seeds, and what came of it."""
