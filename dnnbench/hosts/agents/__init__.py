"""Agents on hosts: clusters, their parts, and the controllers that use them."""
