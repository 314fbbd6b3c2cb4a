"""Data sets: ``locate`` finds one (control side), ``load`` loads it (host side)."""
