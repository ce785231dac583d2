"""Functions of tensors that measures are made of. They import torch, measures do not."""
