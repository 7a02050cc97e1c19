"""One package a family of agents: its declaration, its presets and what is its own."""
