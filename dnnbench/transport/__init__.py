"""How the controller reaches an agent: one way down for orders, one way up for events."""
