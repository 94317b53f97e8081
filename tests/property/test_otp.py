"""Whatever is tried at whatever time: a code is good near its time, and once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.core import otp
from proxy.core.otp import DRIFT_STEPS, STEP_S, OtpRecord

SECRET = b"12345678901234567890"
BEGIN = 1_800_000_000

tries = st.lists(
    st.tuples(
        st.floats(-90, 600, allow_nan=False),  # seconds since the last one; clocks go back as well
        st.integers(-4, 4),  # steps by which the code is off
    ),
    max_size=30,
)


@given(tries)
def test_s8_a_step_opens_once_and_only_within_the_window(tries):
    """S8: what is taken is of a step within the window, later than every one that was taken before."""
    record = OtpRecord("ada", SECRET, since=0.0)
    taken = []
    now = float(BEGIN)
    for passed_s, off in tries:
        now += passed_s
        present = int(now // STEP_S)
        code = otp.code_at(SECRET, (present + off) * STEP_S)
        near = range(present - DRIFT_STEPS, present + DRIFT_STEPS + 1)
        good = [
            step
            for step in near
            if otp.code_at(SECRET, step * STEP_S) == code and (not taken or step > taken[-1])
        ]
        after = otp.spend(record, code, now)

        assert (after is not None) == bool(good)
        if after is not None:
            assert after.used_step == good[-1]
            assert otp.spend(after, code, now) is None
            taken.append(after.used_step)
            record = after

    assert taken == sorted(set(taken))


@given(st.text(max_size=80), st.floats(0, 4e9))
def test_any_text_is_a_code_or_none(text, now):
    """No text is an error, and next to none is good."""
    record, codes = otp.new_record("ada", 0.0)
    after = otp.spend(record, text, now)

    assert after is None or text.strip() in {otp.code_at(record.secret, now), *codes}
