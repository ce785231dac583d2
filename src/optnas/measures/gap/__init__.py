"""The discretization gap."""
