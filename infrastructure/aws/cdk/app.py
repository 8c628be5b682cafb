"""Synthesise every stack of CAIO: `python app.py`, or through the CDK's own command line. No credentials, no look-ups.

Fails where AWS's rules find something that caio_cdk/findings.py does not explain.
"""

from __future__ import annotations

from caio_cdk.application import application
from caio_cdk.deployment import read
from caio_cdk.findings import accepted, check

app = application()
check(app, accepted(read(app.node).profile))
app.synth()
