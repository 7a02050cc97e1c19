"""The static site of a board: plain files that work from a disk, a web server or a phone."""

from pkubench.leaderboard.site.builder import export

__all__ = ["export"]
