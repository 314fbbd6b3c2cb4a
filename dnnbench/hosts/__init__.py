"""Machines that agents run on: this one, or others over SSH."""
