"""The on-policy learner."""
