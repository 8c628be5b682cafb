"""Mutation testing of the routing kernel: `make mutation`."""
