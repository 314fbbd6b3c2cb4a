"""Checks of hosts, and the software and data installed on them before trials run."""
