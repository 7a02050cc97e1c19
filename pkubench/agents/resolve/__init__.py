"""From the spelling of an agent to something the harness can score."""
