"""Methods: the contract, the registry, and the functions and base classes that method files share."""
