"""What is handed in: bundles, their checks and their re-evaluation."""
