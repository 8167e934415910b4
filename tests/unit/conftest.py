"""What holds for all unit tests: none of them trusts the certificate authorities of the machine."""

import os

import pytest


@pytest.fixture(scope="module", autouse=True)
def no_authorities():
    """Every TLS context reads them anew, 20 ms each; clients of plain HTTP make one, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", os.devnull)
        patch.setenv("SSL_CERT_DIR", os.devnull)
        yield
