"""What the errors of the server that has a pod's identity mean: not there yet, or no."""

import certifi
import pytest

from manta_runtime.models import buckets
from manta_runtime.models.buckets import Bucket
from manta_runtime.models.failure import PermanentError, TransientError
from manta_runtime.models.settings import Asked, parse_uri

GCE = "Error performing token request: GET http://metadata.google.internal/computeMetadata/v1/instance/token"
EC2 = "Generic S3 error: Error performing PUT http://169.254.169.254/latest/api/token in 4 ms"
CASES = {
    "gce refuses the connection": ("gs", f"{GCE} - connection refused", TransientError),
    "ec2 refuses the connection": ("s3", f"{EC2} - HTTP error: error sending request, kind: Connect", TransientError),
    "ec2 has trouble": ("s3", f"{EC2} - Server returned non-2xx status code: 503 Service Unavailable", TransientError),
    "ec2 has too many": ("s3", f"{EC2} - status: 429,", TransientError),
    "ec2 has none": ("s3", f"{EC2} - status: 404,", PermanentError),
    "gce says no": ("gs", f"{GCE} - status: 403,", PermanentError),
}


@pytest.fixture
def judge(monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", certifi.where())  # no other unit test needs certificates
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    made = {scheme: Bucket(parse_uri(f"{scheme}://models/x"), {}, Asked()) for scheme in ("s3", "gs")}
    return lambda scheme, text: made[scheme]._other("s3://models/x", text, listing=True)


@pytest.mark.parametrize(("scheme", "text", "kind"), CASES.values(), ids=CASES)
def test_not_there_yet_is_not_no(judge, scheme, text, kind):
    error = judge(scheme, text)
    assert type(error) is kind
    assert "workload identity" in str(error)


def test_who_has_no_identity_at_all_is_told_after_a_minute(judge, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(buckets.time, "monotonic", lambda: now[0])
    text = f"{EC2} - HTTP error: error sending request, kind: Connect"
    assert type(judge("s3", text)) is TransientError
    now[0] += 59
    assert type(judge("s3", text)) is TransientError
    now[0] += 2
    assert type(judge("s3", text)) is PermanentError
