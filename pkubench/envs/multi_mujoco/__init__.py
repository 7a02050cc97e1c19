"""Multi-Agent MuJoCo: one robot, several agents that move a part of it each."""
