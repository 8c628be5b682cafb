"""The journal of decisions and outcomes, and receipts that anybody can verify. See README.md beside this file."""
