"""What a process asks of the machine."""

import contextlib
import ctypes
import os

try:
    import resource
except ImportError:
    # Not on Windows, whose files are not counted like that.
    resource = None  # type: ignore[assignment]

# From glibc's malloc.h.
_M_TOP_PAD = -2
_M_MMAP_THRESHOLD = -3


def prepare() -> bool:
    """Set what makes TensorFlow fast on this machine; call it before TensorFlow loads.

    oneDNN computes the convolutions. TensorFlow chooses it by itself on processors with AVX-512
    for neural networks alone; it is faster without, too. `TF_ENABLE_ONEDNN_OPTS`, where it is set
    already, is left as it is.

    glibc keeps 64 MiB in reserve, and takes arrays of up to 32 MiB from it. Batches and what
    networks make of them come and go; by default they are fetched from the system anew, and
    touching fresh pages for the first time takes longer than filling them. For both see
    docs/benchmarks.md.

    On a GPU TensorFlow takes memory as it needs it, so that several processes can share one;
    `TF_FORCE_GPU_ALLOW_GROWTH=false` takes all of it at once.

    Returns
    -------
    bool
        Whether memory is kept in reserve; false with other C libraries.
    """
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    # Other systems answer in their own ways that they have none of it.
    with contextlib.suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        # Told nothing, glibc learns from what is freed which arrays are kept; told of a reserve, it
        # stops learning, and how far it had come by then is chance.
        return mallopt(_M_TOP_PAD, 64 << 20) == 1 and mallopt(_M_MMAP_THRESHOLD, 32 << 20) == 1
    return False


def allow_open_files() -> None:
    """Let this process open as many files as the system permits: a mapped array keeps one open."""
    if resource is None:
        return
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def processors() -> int:
    """Count the processors that this process may use.

    `OMP_NUM_THREADS` says it where it is set, as for the processes that share a machine.
    """
    share = os.environ.get("OMP_NUM_THREADS", "")
    if share.isdecimal() and int(share) > 0:
        return int(share)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
