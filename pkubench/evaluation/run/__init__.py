"""The harness: episodes, workers, records on disk, verification."""
