"""The networks of learners from data."""
