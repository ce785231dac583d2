"""Candidate operations of an edge; a new one is one file here, in a package, or beside a space."""
