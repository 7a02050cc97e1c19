"""Networks and updates of the methods that learn from a data set."""
