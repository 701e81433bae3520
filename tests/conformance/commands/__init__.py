"""The commands, a module for each or for few that belong together; `options` is what they share."""
