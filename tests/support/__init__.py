"""Hosts, agents and values for tests."""

from pathlib import Path

SUPPORT = Path(__file__).parent
TESTS = SUPPORT.parent
PROJECT = TESTS.parent
