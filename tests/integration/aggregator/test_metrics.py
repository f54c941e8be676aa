"""What a delivered batch does to /metrics of a real aggregator, and that /readyz says why not."""

from __future__ import annotations

from proto import sonde_pb2 as pb
from tests.support.aggregators import Agent, Aggregator
from tests.support.batches import Builder


def test_a_delivered_batch_is_counted_once_whatever_is_sent_again(aggregator: Aggregator) -> None:
    builder = Builder("metrics", ["10.77.0.1"])
    link = builder.link("server", "metrics-api", "10.77.0.1", 80, "203.0.113.9", 4000)
    for number in range(7):
        builder.request(link, duration_us=15, status=pb.SERVER_ERROR if number == 3 else pb.OK)
    builder.agent_stats("requests", events=9, lost_in_kernel=2)
    agent = Agent(aggregator.grpc, "metrics")
    repeated = aggregator.metric("sonde_batches_repeated_total")
    sealed = builder.seal(1)
    for _ in range(3):
        assert agent.deliver(sealed).WhichOneof("message") == "ack"
    labels = 'operation="GET",protocol="http1",role="server",service="metrics-api"'
    assert aggregator.metric(f'sonde_requests_total{{{labels},status="ok"}}') == 6
    assert aggregator.metric(f'sonde_requests_total{{{labels},status="server_error"}}') == 1
    assert aggregator.metric(f"sonde_request_errors_total{{{labels}}}") == 1
    stem = f'sonde_request_duration_seconds_bucket{{le="%s",{labels},status="ok"}}'
    assert aggregator.metric(stem % "1e-05") == 0
    assert aggregator.metric(stem % "2e-05") == 6
    assert aggregator.metric('sonde_agent_events_total{agent="metrics"}') == 9
    assert aggregator.metric('sonde_agent_lost_events_total{agent="metrics",where="kernel"}') == 2
    assert 0 <= aggregator.metric('sonde_agent_lag_seconds{agent="metrics"}') < 60
    assert aggregator.metric('sonde_agent_last_batch_timestamp_seconds{agent="metrics"}') > builder.now_us / 1e6 - 1
    assert aggregator.metric("sonde_batches_repeated_total") - repeated == 2
    agent.close()


def test_readiness_is_ok_or_a_reason(aggregator: Aggregator) -> None:
    assert aggregator.get("/readyz") == (200, "ok\n")
