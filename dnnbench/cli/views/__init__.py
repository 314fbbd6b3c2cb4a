"""Screens of the commands: the running sweep, the plan, provisioning, a download."""
