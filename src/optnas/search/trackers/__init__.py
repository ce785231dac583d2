"""Who looks on while a search runs, by name; a new tracker is one new file in this folder."""
