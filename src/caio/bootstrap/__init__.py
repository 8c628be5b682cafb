"""The composition root: the only place that reads settings and wires the rooms together.

``open_installation`` gives everything one process needs to decide, call and answer; the API, the
library and the command line stand on the same installation. Each module wires one part, from what
lies below it, in this order:

- ``storage``: the directory, the locks, the database and its stores;
- ``audit``: keys, the vault of the tenants' data keys, the journal, the sequencer, anchors;
- ``tenancy``: tenants, and who calls;
- ``gateway``: views, histories, admission, the request path;
- ``registry``: what is published, read and examined;
- ``recovery``: what a crash left;
- ``events``, ``worker``: webhooks, buses, and what is done beside answering;
- ``observability``, before and beside all of them: metrics and traces.

``opening`` calls them and closes them in order; ``installation`` is the result.
"""

from caio.bootstrap.audit import anchor_of, keyring_of, master_of, open_wrapping
from caio.bootstrap.clock import new_id, now
from caio.bootstrap.installation import Installation
from caio.bootstrap.opening import embedded_settings, open_from_environment, open_installation
from caio.bootstrap.storage import alone_in, alone_on, open_database, prepare_data_dir
from caio.bootstrap.tenancy import default_tenant
from caio.bootstrap.upgrading import upgrade_database

__all__ = [
    "Installation",
    "alone_in",
    "alone_on",
    "anchor_of",
    "default_tenant",
    "embedded_settings",
    "keyring_of",
    "master_of",
    "new_id",
    "now",
    "open_database",
    "open_from_environment",
    "open_installation",
    "open_wrapping",
    "prepare_data_dir",
    "upgrade_database",
]
