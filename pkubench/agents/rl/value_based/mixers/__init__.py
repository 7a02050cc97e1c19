"""How the agents' utilities make the value of a joint action: one module each."""
