"""Reading ahead on a thread, so that who computes does not wait for who reads."""

from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

Item = TypeVar("Item")

_END = object()


def read_ahead(items: Iterable[Item], *, depth: int = 2) -> Generator[Item, None, None]:
    """Draw items on a thread of their own, up to `depth` of them in advance, in their order.

    An exception is raised where its item would have come. No more than `depth` items are held
    besides the one in use.
    """
    iterator = iter(items)
    # One worker, so that the iterator is never entered twice and the order stays.
    pool = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
    try:
        drawn: deque[Future[Any]] = deque(pool.submit(next, iterator, _END) for _ in range(depth))
        while (item := drawn.popleft().result()) is not _END:
            drawn.append(pool.submit(next, iterator, _END))
            yield item
    finally:
        pool.shutdown(cancel_futures=True)
