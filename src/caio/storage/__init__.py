"""Adapters of the ports that keep things. See README.md beside this file."""
