"""Adapters that live in this process alone: the embedded default."""
