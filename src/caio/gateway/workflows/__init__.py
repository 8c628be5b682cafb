"""Runs of workflows: several calls for one job, under bounds that hold end to end. See README.md."""
