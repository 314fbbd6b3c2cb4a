"""Roles of a trial: parameter server and worker, and what both need."""
