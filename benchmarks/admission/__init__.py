"""Admission: what knowing a caller and holding it to its limits costs a call."""
