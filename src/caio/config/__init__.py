"""Settings, from the environment (``CAIO_…``) and nothing else; read by ``bootstrap`` and the command line alone.

``settings`` holds them together, the other modules one subject each; ``production`` says what is not safe to
start with. There are no default secrets: keys come from the environment, or are generated in the data directory
at first start.
"""

from caio.config.identity import OidcIssuer
from caio.config.production import Purpose, require_safe, unsafe_settings
from caio.config.settings import Settings, read_settings
from caio.config.storage import EMBEDDED
from caio.config.values import Bucket, NamedDatabase, WitnessAddress

__all__ = [
    "EMBEDDED",
    "Bucket",
    "NamedDatabase",
    "OidcIssuer",
    "Purpose",
    "Settings",
    "WitnessAddress",
    "read_settings",
    "require_safe",
    "unsafe_settings",
]
