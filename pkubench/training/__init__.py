"""Training: one session for every learner, and the pipelines made of sessions."""
