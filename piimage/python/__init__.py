"""Python packages for the target: resolved, fetched, and turned into tree entries unbuilt."""
