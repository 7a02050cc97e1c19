"""Published tables, each one committed, resumable command: ``make results-NAME``."""
