"""The learner of each method: networks, optimisers and one update."""
