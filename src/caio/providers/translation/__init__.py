"""Between OpenAI's chat shape, which the gateway speaks, and that of other services: one file a pair, both ways."""
