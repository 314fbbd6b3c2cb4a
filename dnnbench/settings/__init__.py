"""The user's settings: from file, environment, options and host lists to one checked value."""
