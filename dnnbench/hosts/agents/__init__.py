"""Agents on hosts over SSH: clusters, their parts, and who uses them."""
