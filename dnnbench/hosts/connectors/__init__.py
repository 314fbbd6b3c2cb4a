"""Ways to reach a host: each kind of connection has one file here and one entry in `table`."""
