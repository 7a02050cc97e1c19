"""Running submitted agents where they can do no harm: bubblewrap, limits, arrays over a pipe."""
