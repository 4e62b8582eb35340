#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""melody.py OUT: writes services/105.wav: a short melody, 8 kHz, 16 bit, one channel, the same bytes each time."""
import math
import struct
import sys
import wave

RATE = 8000
NOTES = [(523.25, 0.25), (659.25, 0.25), (783.99, 0.25), (1046.5, 0.5), (783.99, 0.25), (880.0, 0.25), (987.77, 0.25), (1046.5, 0.7)]

samples = []
for hz, seconds in NOTES:
    n = int(RATE * seconds)
    for i in range(n):
        t = i / RATE
        envelope = min(1.0, i / 80) * math.exp(-2.2 * t) * min(1.0, (n - i) / 160)
        tone = math.sin(2 * math.pi * hz * t) + 0.3 * math.sin(4 * math.pi * hz * t)
        samples.append(round(9000 * envelope * tone / 1.3))

with wave.open(sys.argv[1], "wb") as w:
    w.setnchannels(1)
    w.setsampwidth(2)
    w.setframerate(RATE)
    w.writeframes(struct.pack("<%dh" % len(samples), *samples))
