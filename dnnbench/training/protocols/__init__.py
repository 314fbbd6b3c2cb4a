"""Protocols, one file each: how gradients reach the parameters."""
