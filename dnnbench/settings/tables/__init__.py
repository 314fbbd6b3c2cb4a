"""The tables of dnnbench.toml, with every setting's type, default, help and reason."""
