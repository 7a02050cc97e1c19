"""Agents that answer in words: models behind a server, local models, and people at a keyboard."""
