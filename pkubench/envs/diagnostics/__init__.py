"""Games small enough to solve on paper: they show what an algorithm's theory claims."""
