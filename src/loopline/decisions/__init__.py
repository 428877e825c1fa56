"""From a probability to an action: costs, threshold, abstain band. A versioned object apart from the model."""
