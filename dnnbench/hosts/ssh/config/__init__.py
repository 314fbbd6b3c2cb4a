"""The user's SSH configuration: read as OpenSSH reads it, and either obeyed or refused."""
