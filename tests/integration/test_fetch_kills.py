"""kill -9 at random points of a fetch: never half a model, in the end every byte (100 kills: `make fetch-kills`)."""

from fetch_kills import run_kills


def test_kills_at_random_points(tmp_path):
    outcome = run_kills(tmp_path, kills=5, size=1_000_000)
    assert outcome.kills == 5
    assert outcome.served_half == 0, outcome.line()
    assert outcome.sent < 3 * outcome.needed, "what was there before a kill is used"
