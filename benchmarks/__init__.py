"""Speed beside named peers, one module a comparison; ``python -m benchmarks`` runs them all."""
