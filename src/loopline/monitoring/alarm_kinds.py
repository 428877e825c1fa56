"""The kinds of alarm, and so of the incident that each opens."""

HARM = "harm"
DATA_FAULT = "data_fault"
DECISION_HARM = "decision_harm"
ESTIMATED_HARM = "estimated_harm"
REGRET = "regret"
UNFAIR = "unfair"
EXCEEDED = "exceeded"
