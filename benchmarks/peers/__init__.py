"""Other servers, each in an environment of its own, with a model that does nothing."""
