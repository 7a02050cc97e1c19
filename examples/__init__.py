"""Worked examples of the tutorials."""
