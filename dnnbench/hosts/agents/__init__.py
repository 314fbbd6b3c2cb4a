"""Agents on SSH hosts: clusters, their parts, and the controllers that use them."""
