"""Parts that several commands share: options, output, hosts, data, the printer."""
