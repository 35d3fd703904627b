"""How a network is trained: losses, penalties, weights, samplers and optimizers, and how names join them."""
