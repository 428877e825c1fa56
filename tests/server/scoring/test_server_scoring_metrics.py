from loopline.server.scoring.metrics import Metrics


def test_counts_are_written_where_there_are_new_ones(tmp_path):
    metrics, kept = Metrics(tmp_path, 0), tmp_path / "0.counted"
    metrics.keep()
    first = kept.stat().st_ino
    metrics.keep()
    assert kept.stat().st_ino == first
    metrics.count_request("/predict/{endpoint}", 200, 0.001)
    metrics.keep()
    assert kept.stat().st_ino != first
    assert 'requests_total{route="/predict/{endpoint}",status="200"} 1' in Metrics(tmp_path, 1).exposition()
