"""Layout of text: tables, screens, and words for numbers."""
