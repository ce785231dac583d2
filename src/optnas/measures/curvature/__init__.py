"""Exact Hessians of the losses in logits and operation weights."""
