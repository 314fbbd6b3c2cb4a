"""Protocols, one module each: how gradients reach the parameters. See `base` for the interface."""
