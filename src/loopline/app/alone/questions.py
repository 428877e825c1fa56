"""The questions, in the order that someone asks them, with what is said to each."""

from loopline.app.study.answers import Watched


def questions(watched: Watched) -> list[tuple[str, str, list[str]]]:
    """A short key, the question and its sentences; questions with nothing to say are left out."""
    found = [
        ("harm", "Is it harmed?", watched.harm.sentences),
        ("why", "Why?", watched.why.sentences),
        ("custom", "What do your own monitors say?", [one.sentence for one in watched.custom]),
        ("earlier", "Would the earlier model help?", watched.earlier.sentences),
        ("calibration", "Are the scores honest?", watched.calibration.sentences if watched.calibration else []),
        ("costs", "What do decisions cost?", watched.costs.sentences if watched.costs else []),
        ("budget", "How sure is this?", watched.budget.sentences),
        ("coverage", "Which labels are there?", watched.coverage.sentences),
        ("unlabelled", "And those without labels yet?", watched.unlabelled.sentences if watched.unlabelled else []),
        ("unanswered", "What could not be answered?", watched.unanswered),
        ("taken", "What was taken as what?", watched.notices),
    ]
    return [(key, question, sentences) for key, question, sentences in found if sentences]
