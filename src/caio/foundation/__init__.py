"""The words every other room uses; pure. See README.md beside this file."""
