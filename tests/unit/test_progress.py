from __future__ import annotations

from assumed.progress import Progress, Wait, record_progress, waiting_for


def test_the_innermost_wait_of_the_recorded_thread_is_current() -> None:
    now = 5.0
    progress = Progress(lambda: now)
    with waiting_for("unrecorded"):
        pass
    with record_progress(progress):
        with waiting_for("source"):
            now = 6.0
            with waiting_for("command"):
                assert progress.current == Wait("command", 6.0)
            assert progress.current == Wait("source", 5.0)
        progress.begin("write")
    with waiting_for("unrecorded"):
        assert progress.current == Wait("write", 6.0)
