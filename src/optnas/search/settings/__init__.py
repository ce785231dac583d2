"""The settings of a run, from layers of files and keys to one checked value. No torch.

layers     protocol, file and command line laid over each other; which of them wrote a key
complete   every default spelled out, every section checked against what it names
check      what settings must not contradict
model      the complete value: its TOML, its identity, its hash
"""
