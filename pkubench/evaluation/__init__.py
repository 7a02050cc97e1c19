"""Episodes to records, records to metrics, statistics, plots and reports."""
