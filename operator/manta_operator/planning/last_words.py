"""What a container that ended says about itself: the line of its log that tells the cause. Pure.

The kubelet keeps the end of the log (`terminationMessagePolicy`). Its very last line is often not the cause: the
launcher only says there that vLLM has ended, and a traceback may go on after the error that matters.
"""

import re

from manta_operator.api.printable import printable

SIGNALS = 128
"""Exit codes above it are this and the number of a signal."""
_KILLED = {
    137: "killed (SIGKILL), and could not say why",
    139: "ended by a crash (SIGSEGV), and could not say why",
    143: "told to stop (SIGTERM)",
}
_LIMIT = 300
_CUT_BYTES = range(2040, 2049)
"""The kubelet keeps 2 KiB of a log, and then its first line begins anywhere. What the launcher wrote is whole."""
_ERROR = re.compile(r"\b\w*(?:Error|Exception|NotFound|OutOfMemory)\b: ")
_ABOVE = re.compile(
    r"(?:last words|root cause)[^.]* above|See root cause above|See stack trace \(above\)|vLLM ended by itself",
    re.IGNORECASE,
)
_STAMP = re.compile(r"^\d\d:\d\d:\d\d manta (?:fetch|rank \d+): ")
"""Without it the same failure is the same sentence each time, and no news."""
_VLLM = re.compile(r"^\(\w+ pid=\d+\) (?:[A-Z]+ \d\d-\d\d \d\d:\d\d:\d\d )?(?:\[[^\]]{1,60}\] )?")
"""Before every line of vLLM: process, level, time and place. Likewise no news."""
_MEANS = (
    (
        re.compile(r"no attribute 'cpu_gemm_wna16'"),
        "this CPU has no AVX-512, which 4-bit weights with 16-bit activations need; W8A8 and W4A8 do without",
    ),
    (
        re.compile(r"No such (?:option:? '?--(?:hang-seconds|adapters)|command '?adapters)\b"),
        "spec.engine.image is older than the operator: name the image of manta/runtime that belongs to it",
    ),
    (
        re.compile(r"Failed to find a kernel that can implement"),
        "vLLM has no kernel on this accelerator for how the checkpoint is quantized",
    ),
)
"""What words mean that name a place in the code, or a flag that Manta wrote, and not what is wrong."""
_UNFETCHED = re.compile(
    r"""\b(?:RepositoryNotFound|GatedRepo|RevisionNotFound|EntryNotFound|LocalEntryNotFound|HfHubHTTP|HFValidation)Error\b
    | is\ not\ a\ local\ folder\ and\ is\ not\ a\ valid\ model\ identifier
    | is\ not\ a\ valid\ git\ identifier
    | Invalid\ repository\ ID\ or\ local\ directory
    | You\ are\ trying\ to\ access\ a\ gated\ repo
    | [Cc]ouldn't\ connect\ to\ .https?://
    | Cannot\ find\ any\ model\ weights
    | No\ space\ left\ on\ device
    | secret\ "[^"]*"\ not\ found
    | Secret\ \S+\ (?:does\ not\ exist|has\ no\ key)
    | [Cc]ouldn't\ find\ key\ (?:HF_TOKEN|AWS_ACCESS_KEY_ID|AWS_SECRET_ACCESS_KEY|GOOGLE_SERVICE_ACCOUNT_KEY)
    | restarting\ failed\ container=fetch\b
    | persistentvolumeclaim\ "[^"]*"\ not\ found
    | unbound\ immediate\ PersistentVolumeClaims""",
    re.VERBOSE,
)


_TOO_OLD = re.compile(r"\bNo such command 'fetch'")
"""What a manta-runtime says that is older than the init container."""


def last_words(log: str) -> str:
    """Return the line that tells why the container ended: an error before the launcher's own summary, or the last.

    Where the line does not say what is wrong, that follows it.
    """
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    if len(log.encode(errors="replace")) in _CUT_BYTES and len(lines) > 1:
        del lines[0]
    telling = [line for line in lines if _UNFETCHED.search(line)] or [
        line for line in lines if _ERROR.search(line) and not _ABOVE.search(line)
    ]
    if not lines:
        return ""
    words = telling[-1] if telling and _ABOVE.search(lines[-1]) else lines[-1]
    words = _VLLM.sub("", _STAMP.sub("", words))
    cut = printable(words, _LIMIT)
    means = next((f" ({meaning})" for pattern, meaning in _MEANS if pattern.search(cut)), "")
    return printable(words.removesuffix(means), _LIMIT) + means  # of a pod in the store it stands there already


def cannot_fetch(problem: str) -> bool:
    """Whether a pod's problem is that the weights cannot be had: no such model, no permission, no claim, no space."""
    return _UNFETCHED.search(problem) is not None


def too_old(problem: str) -> bool:
    """Whether a pod's problem is that the runtime of its image cannot fetch: the operator was upgraded without it."""
    return _TOO_OLD.search(problem) is not None


def killed_words(code: int, reason: str, said: str) -> str:
    """Return what to say of a container that a signal has ended, "" for others, and for those that pass on a code.

    Who is killed can say nothing: then the end of its log tells of something else. `reason` is the kubelet's.
    """
    if code <= SIGNALS or f"code {code}" in said:
        return ""
    return reason if reason not in ("", "Error") else _KILLED.get(code, "killed by a signal, and could not say why")
