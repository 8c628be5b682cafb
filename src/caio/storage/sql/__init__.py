"""Storage in SQLite or PostgreSQL behind one set of classes."""

from caio.storage.sql.database import Database
from caio.storage.sql.stores import Stores, open_stores

__all__ = ["Database", "Stores", "open_stores"]
