"""What CAIO adds to a call: beside the direct call, a bare relay and other gateways, in one run."""
