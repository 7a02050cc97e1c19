"""The public forms of a BatchEnv: Gymnasium, PettingZoo and Stable-Baselines3."""
