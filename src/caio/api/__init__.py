"""HTTP in front of the gateway and the registry. See README.md beside this file."""
