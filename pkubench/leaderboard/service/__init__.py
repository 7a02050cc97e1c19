"""The served board: the queue of submissions, tokens, workers, and the web server."""
