"""Loss and accuracy of every class and group: what every other analysis stands beside."""
