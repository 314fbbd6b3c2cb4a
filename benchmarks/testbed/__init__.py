"""Hosts on one machine, for tests and benchmarks: SSH servers, networks of their own, processes."""
