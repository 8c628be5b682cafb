"""What one tenant's burst does to another tenant's calls."""
