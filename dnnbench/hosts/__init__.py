"""Machines that agents run on: this one, or listed hosts."""
