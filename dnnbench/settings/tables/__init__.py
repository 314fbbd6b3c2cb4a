"""The tables of dnnbench.toml, with everything about each setting."""
