"""Campaigns: a plan is cut into cells, an engine runs them, a store keeps them, one report tells of them."""
