"""Faults injected at random moments of real sweeps, and whether dnnbench's promises held."""
