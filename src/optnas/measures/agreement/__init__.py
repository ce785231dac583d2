"""Do the gradients of both halves in the operation weights agree?"""
