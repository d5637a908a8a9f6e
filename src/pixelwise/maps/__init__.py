"""Images and labels in map coordinates."""
