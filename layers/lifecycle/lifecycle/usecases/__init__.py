"""Floor 4: use cases. What the product does, told in terms of ports and judgement."""
