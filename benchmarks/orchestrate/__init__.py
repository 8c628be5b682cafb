"""What CAIO adds to a call: beside the direct call and beside a bare relay, in one run."""
