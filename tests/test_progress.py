"""What a long run tells where there is no terminal."""

from ntkrepro import progress


def test_the_time_left_leaves_out_what_came_before_the_first_step(monkeypatch, capsys):
    """Compiling, or the steps of the process that was cut off."""
    clock = iter([0.0, 1.0, 101.0, 105.0, 121.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.lines("run", 11) as tick:
        tick(0, loss=2.0)
        tick(1, loss=1.0)
        tick(2)
        tick(3, loss=0.5)
    told = capsys.readouterr().err.splitlines()
    assert told == ["run step 1/11 loss 1", "run step 3/11 loss 0.5 80 s left"]
