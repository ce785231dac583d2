"""Stand-alone training: networks of single architectures, and whole tables of them.

Importable without torch; what trains is imported when it is called.
"""
