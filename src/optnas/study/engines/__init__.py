"""What carries runs out: processes of this machine, or a cluster. One file each."""
