"""Submissions: bundles, their checks and their re-evaluation."""
