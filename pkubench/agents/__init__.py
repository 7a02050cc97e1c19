"""Learners and policies, behind the Agent contract."""
