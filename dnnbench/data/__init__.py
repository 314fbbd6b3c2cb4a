"""Data sets: ``locate`` finds one (control side), ``dataset`` loads it (host side)."""
