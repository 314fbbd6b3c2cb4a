"""A sweep: plan it, run its trials, store what comes of them."""
