"""`manta status` on the fit: the prediction beside the measurement, and how far off it was."""

from manta_operator.cli.fit_story import side_by_side

GIB = 2**30
FIT = {
    "fits": "True",
    "basis": "catalog",
    "bounds": "tokens 384000 to 416000",
    "predicted": {
        "weightsPerRank": 15 * GIB,
        "kvCachePerRank": 50 * GIB,
        "kvCacheTokens": 400_000,
        "concurrency": 48.83,
    },
    "actual": {"weightsPerRank": 15 * GIB, "graphsPerRank": GIB, "kvCachePerRank": 40 * GIB, "kvCacheTokens": 320_000},
}


def test_both_stand_side_by_side():
    assert [" ".join(line.split()) for line in side_by_side(FIT, None)] == [
        "PER RANK, REPLICA PREDICTED ACTUAL OFF",
        "weights 15.0 GiB 15.0 GiB +0.0%",
        "CUDA graphs 1.0 GiB",
        "KV cache 50.0 GiB 40.0 GiB \x1b[33m-20.0%\x1b[0m",
        "tokens 400000 320000 \x1b[33m-20.0%\x1b[0m",
        "requests at once 48.8",
        "bounds: tokens 384000 to 416000",
        "read from: catalog",
    ]


def test_before_an_engine_has_spoken_there_is_the_prediction():
    lines = side_by_side({name: FIT[name] for name in ("fits", "predicted")}, None)
    assert "ACTUAL" not in lines[0]
    assert len(lines) == 5


def test_nothing_is_said_where_nothing_is_known():
    assert side_by_side({"fits": "Unknown", "basis": "catalog"}, None) == []
    assert side_by_side({}, 80) == []
