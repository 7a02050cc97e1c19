"""One package per agent family: its declaration, its presets and family-specific code."""
