"""Agents that are not trained: random and scripted ones."""
