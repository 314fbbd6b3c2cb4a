"""What a host is given before trials run on it, and how it is looked at first."""
