"""The figures of a report, as files and as parts of a page."""
