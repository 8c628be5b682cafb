"""The Model Context Protocol at ``/mcp``: the tenant's services as tools. ``door`` is what the API mounts."""
