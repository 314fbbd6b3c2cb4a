"""Machines that agents run on, and how they are reached: this one, or others over SSH."""
