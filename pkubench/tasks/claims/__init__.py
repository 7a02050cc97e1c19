"""The papers' claims, one module per paper; a suite lists those on its tasks (``Suite.claims``).

``evidence.json`` holds the runs that they are judged by (``pkubench.evaluation.evidence``).
"""
