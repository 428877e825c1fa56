"""How a model does where no labels are yet: estimates that say how sure they are, and abstain where they cannot be."""
