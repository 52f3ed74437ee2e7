"""From an appliance, its lock and its board to the steps that make it."""
