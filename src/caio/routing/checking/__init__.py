"""The checker's own reading of the routing rules; its entry is ``caio.routing.checker``.

Written from docs/reference/routing-rules.md alone, one service at a time over plain documents, and
never from the engine: what both agree on has been worked out twice.
"""
