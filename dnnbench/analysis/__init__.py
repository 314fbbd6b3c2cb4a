"""Outcomes of trials to the figures of a report."""
