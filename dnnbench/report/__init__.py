"""The report of a sweep: terminal, Markdown, figure, CSV and JSON, all from one ``Analysis``."""
