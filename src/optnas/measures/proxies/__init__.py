"""Whether the supernet ranks cells better than numbers of their untrained networks do."""
