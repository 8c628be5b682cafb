"""The demonstration: the product, run on real input in its own processes, and judged by its answers.

``examples`` finds what ships, ``processes`` starts and stops, ``api`` speaks HTTP as any client
would, ``stage`` sets CAIO and the services up, ``steps`` and ``proofs`` ask, ``expectations`` judge,
``screen`` prints. ``story`` holds the words they share.
"""
