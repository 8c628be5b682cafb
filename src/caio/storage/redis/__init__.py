"""Admission shared by several processes, in Redis. The only room that imports ``redis``."""
