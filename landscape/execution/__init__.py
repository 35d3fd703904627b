"""How samples pass through a network: loss, accuracy and first derivatives, as fast as they can be had."""
