"""Learn how a network learns: the step player, exercises, and trainings that go wrong.

`python -m minigrad.study` lists the commands. `docs/study/` is the guide.
"""
