"""What the types of otpd.py promise; only checked, never run."""
from typing import Optional

from otpd import AsyncOtpd, Issued, Otpd, RateLimited, Verdict

with Otpd(["--outbox", "outbox"], restart=True) as threads:
    issued: Issued = threads.issue("ann@example.org", purpose="sign-up", vars={"name": "Ann"}, ttl_s=60)
    verdict: Verdict = threads.verify(issued.session, "123456")
    left: Optional[int] = verdict.attempts_left
    try:
        again: Issued = threads.resend(issued.session)
    except RateLimited as err:
        wait: Optional[int] = err.retry_in_s
    threads.verify(issued.session, 123456)  # type: ignore[arg-type]
    threads.issue("ann@example.org", purpos="sign-up")  # type: ignore[call-arg]


async def tasks() -> str:
    async with AsyncOtpd() as client:
        issued = await client.issue("ann@example.org")
        return "in" if await client.verify(issued.session, "123456") else str((await client.status())["protocol"])
