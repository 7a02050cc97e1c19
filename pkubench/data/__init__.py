"""Recorded episodes that agents learn from without the environment: the container and its files."""
