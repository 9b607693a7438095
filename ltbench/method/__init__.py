"""What a method is: its contract, its discovery, and the building blocks that method files share."""
