"""A mail server that keeps what it gets: `python -m mail.server`. Its controller has a thread of its own."""

import os
import time

from aiosmtpd.controller import Controller


class Keeper:
    def __init__(self):
        self.letters = []

    async def handle_DATA(self, _server, _session, envelope):  # noqa: N802 - aiosmtpd's own name
        self.letters.append(envelope)
        print(f"a letter from {envelope.mail_from}, the {len(self.letters)}. of today", flush=True)
        return "250 OK"


def create():
    return Controller(Keeper(), hostname="127.0.0.1", port=int(os.environ.get("MAIL_PORT", "8025")))


if __name__ == "__main__":
    controller = create()
    controller.start()
    try:
        time.sleep(1e9)
    finally:
        controller.stop()
