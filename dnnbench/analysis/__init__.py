"""Analysis: from the outcomes of trials to the figures of a report."""
