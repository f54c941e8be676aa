"""SQL that the aggregator itself runs, one statement a file."""
