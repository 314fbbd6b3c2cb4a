"""The user's settings: file, environment, options and host lists to one checked value."""
