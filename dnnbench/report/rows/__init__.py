"""The tidy rows of a report for other programs, in CSV: one kind of row per module."""
