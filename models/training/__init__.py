"""The TOPS loop: from a base model and problems with answers to weights that obey effort tags."""
