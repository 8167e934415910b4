"""The CEL rules about what names weights, `spec.model` first of all: which URIs, and which fields go with them."""

from manta_operator.api.rule import Rule

SECRET_VARIABLES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "HF_TOKEN",
)
"""Environment variables that only a Secret may set."""

ENDPOINT_VARIABLES = ("AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "GOOGLE_BASE_URL", "HF_ENDPOINT")
"""Environment variables with the address that weights come from. The cache's folder is named after that of the spec."""

_BUCKET = "[a-z0-9][-a-z0-9_.]{1,220}[a-z0-9]"
_IMAGE = "[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[0-9]+)?(/[a-z0-9]([-a-z0-9_.]*[a-z0-9])?)+"
_VERSION = "(:[A-Za-z0-9_][-A-Za-z0-9_.]{0,127}|@sha256:[0-9a-f]{64})"

URI_RULES = (
    Rule(
        "!self.uri.startsWith('hf://') || "
        "self.uri.matches('^hf://[A-Za-z0-9][-A-Za-z0-9_.]*/[A-Za-z0-9][-A-Za-z0-9_.]*$')",
        "must be hf://organisation/name; a branch, tag or commit goes into revision",
        field_path=".uri",
    ),
    Rule(
        f"!self.uri.matches('^(s3|gs)://') || self.uri.matches('^(s3|gs)://{_BUCKET}(/[^/]+)*/?$')",
        "must be s3://bucket/prefix or gs://bucket/prefix: the name of a bucket and a folder in it",
        field_path=".uri",
    ),
    Rule(
        "!self.uri.startsWith('pvc://') || self.uri.matches('^pvc://[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[^/]')",
        "must be pvc://claim/path: the name of a PersistentVolumeClaim and a folder in it",
        field_path=".uri",
    ),
    Rule(
        "!self.uri.startsWith('file://') || self.uri.matches('^file:///[^/]')",
        "must be file:///absolute/path, with three slashes",
        field_path=".uri",
    ),
    Rule(
        "!self.uri.matches('[/#][.][.]?(/|$)') && !self.uri.matches('[ \\\\t\\\\n?]') && "
        "(!self.uri.contains('#') || self.uri.startsWith('oci://'))",
        "must not hold . or .. as a part of the path, spaces, ? or #",
        field_path=".uri",
    ),
)
"""What holds of every URI, but for its scheme."""

SOURCE_RULES = (
    Rule(
        "!has(self.revision) || self.uri.startsWith('hf://')",
        "only hf:// has revisions: leave it out, or use an hf:// uri",
        field_path=".revision",
    ),
    Rule(
        "!has(self.endpoint) || self.uri.matches('^(hf|s3|gs)://')",
        "only hf://, s3:// and gs:// are fetched from an address: leave it out, or use such a uri",
        field_path=".endpoint",
    ),
    Rule(
        "!has(self.region) || self.uri.startsWith('s3://')",
        "only a bucket of s3:// has a region: leave it out, or use an s3:// uri",
        field_path=".region",
    ),
    Rule(
        "!has(self.credentialsSecret) || self.uri.matches('^(hf|s3|gs|oci)://')",
        "pvc:// and file:// need no credentials: leave it out, or use another uri",
        field_path=".credentialsSecret",
    ),
)
"""Which fields go with which URIs."""

MODEL_RULES = (
    Rule(
        "self.uri.matches('^(hf|s3|gs|pvc|oci|file)://')",
        "must start with hf:// (Hugging Face Hub), s3:// or gs:// (a bucket), pvc:// (a PersistentVolumeClaim), "
        "oci:// (an image) or file:/// (a folder of the node)",
        field_path=".uri",
    ),
    Rule(
        f"!self.uri.startsWith('oci://') || self.uri.matches('^oci://{_IMAGE}{_VERSION}(#[^/#][^#]*)?$')",
        "must be oci://registry/repository:tag or …@sha256:digest, and #path for a folder in the image",
        field_path=".uri",
    ),
    *URI_RULES,
    *SOURCE_RULES,
)
