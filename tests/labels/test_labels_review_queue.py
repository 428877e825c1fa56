"""The suite of the review queue on SQLite and on PostgreSQL."""

import loopline.labels.review.store
import loopline.ledger.store  # noqa: F401 - their tables are part of the database that the tests get
from loopline.testing.reviews import ReviewsSuite


class TestReviews(ReviewsSuite):
    pass
