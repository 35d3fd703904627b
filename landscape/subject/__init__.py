"""What is measured: one network, its parameters, class-labeled samples and a loss."""
