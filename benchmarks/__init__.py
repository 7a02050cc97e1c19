"""Speed compared with named peers, one module each; ``python -m benchmarks`` runs them all."""
