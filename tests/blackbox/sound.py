# SPDX-License-Identifier: Apache-2.0
"""sound: is what was heard what was sent? Recognised by cross-correlation with the source, never only counted. numpy; G.711 from its definition (ITU-T G.711), shared with nobody."""
import io, struct, wave
import numpy as np

HZ = 8000


def _ulaw(u):
    v = ~u & 0xff
    x = (((v & 15) << 3) + 0x84) << ((v >> 4) & 7)
    return 0x84 - x if v & 0x80 else x - 0x84


def _alaw(a):
    a ^= 0x55
    seg, x = (a & 0x70) >> 4, ((a & 15) << 4) + 8
    if seg:
        x = (x + 0x100) << (seg - 1)
    return x if a & 0x80 else -x


TABLE = {0: np.array([_ulaw(i) for i in range(256)], np.float64), 8: np.array([_alaw(i) for i in range(256)], np.float64)}
_order = np.argsort(TABLE[0], kind='stable')


def ulaw(pcm):
    """Samples to µ-law bytes: the nearest of the 256 values."""
    s = TABLE[0][_order]
    i = np.clip(np.searchsorted(s, pcm), 1, 255)
    i -= (pcm - s[i - 1]) < (s[i] - pcm)
    return _order[i].astype(np.uint8).tobytes()


def samples(rtp, first=0):
    """What was heard, by sequence number; what is missing is silence."""
    a = rtp.audio(first)
    if not a:
        return np.zeros(0)
    at = [(g[3] - a[0][3] + 32768) % 65536 - 32768 for g in a]
    lo = min(at)
    out = np.zeros((max(at) - lo + 1) * 160)
    for k, g in zip(at, a):
        s = TABLE[g[1]][np.frombuffer(g[6], np.uint8)]
        out[(k - lo) * 160:(k - lo) * 160 + len(s)] = s[:160]
    return out


def speechlike(seconds, seed=1):
    """Noise in the band of a telephone, loud and soft as syllables are, never silent within, no part like another."""
    r, n = np.random.default_rng(seed), int(seconds * HZ)
    f = np.fft.rfft(r.standard_normal(n))
    hz = np.fft.rfftfreq(n, 1 / HZ)
    f[(hz < 300) | (hz > 3300)] = 0
    x = np.fft.irfft(f, n)
    steps = np.repeat(r.uniform(0.5, 1.0, n // 800 + 1), 800)[:n]
    x *= np.convolve(steps, np.ones(160) / 160, 'same')
    return x / np.abs(x).max() * 16000


def tone(seconds, hz):
    return 8000 * np.sin(2 * np.pi * hz * np.arange(int(seconds * HZ)) / HZ)


def wav(pcm, hz=HZ):
    b = io.BytesIO()
    with wave.open(b, 'wb') as w:
        w.setnchannels(1)
        w.setsampwidth(2)
        w.setframerate(hz)
        w.writeframes(np.clip(pcm, -32768, 32767).astype('<i2').tobytes())
    return b.getvalue()


def read_wav(path):
    """(samples, rate) of a 16 bit file, the first channel."""
    with wave.open(path, 'rb') as w:
        assert w.getsampwidth() == 2
        x = np.frombuffer(w.readframes(w.getnframes()), '<i2')[::w.getnchannels()].astype(np.float64)
        return x, w.getframerate()


def resampled(x, hz):
    """To 8 kHz, by cutting the spectrum."""
    n = int(round(len(x) * HZ / hz))
    f = np.fft.rfft(x)
    return np.fft.irfft(f[:n // 2 + 1], n) * n / len(x)


def frames(x, size=160):
    return x[:len(x) // size * size].reshape(-1, size)


def loud(x, db=-50, size=160):
    """Which frames are above this level."""
    return (frames(x, size) ** 2).mean(axis=1) > (32768 * 10 ** (db / 20)) ** 2


def extent(x, db=-50):
    """First and one past the last sample of what is to be heard, to 10 ms."""
    k = np.flatnonzero(loud(x, db, 80))
    return (k[0] * 80, (k[-1] + 1) * 80) if len(k) else (0, 0)


def active_db(x):
    """RMS of the active speech in dBFS (full scale: 32768): frames within 15.9 dB of their own mean, as ITU-T P.56 does."""
    p = (frames(x) ** 2).mean(axis=1)
    p = p[p > 0]
    if not len(p):
        return -200.0
    mean = p.mean()
    for _ in range(8):
        mean = p[p >= mean * 10 ** -1.59].mean()
    return 10 * np.log10(mean / 32768.0 ** 2)


def best(heard, source):
    """(correlation, lag): where source stands in heard, and how alike they are there (1 = the same but for loudness)."""
    if len(heard) < 160 or len(source) < 160:
        return 0.0, 0
    n = 1 << (len(heard) + len(source)).bit_length()
    c = np.fft.irfft(np.fft.rfft(heard, n) * np.conj(np.fft.rfft(source, n)), n)
    lag = int(np.argmax(c))
    lag = lag - n if lag >= len(heard) else lag
    a, b = max(lag, 0), max(-lag, 0)
    k = min(len(heard) - a, len(source) - b)
    x, y = heard[a:a + k], source[b:b + k]
    # parts of the source that were not heard count against it
    power = np.sqrt((x @ x) * (source @ source))
    return (float(x @ y / power) if power else 0.0), lag


def recognise(heard, source, least=0.9, ms=40, gap_ms=20):
    """None if `heard` is `source` whole; else what is wrong."""
    c, lag = best(heard, source)
    if c < least:
        return 'correlation %.3f with the source (at least %.2f)' % (c, least)
    s, h = extent(source), extent(heard)
    want, got = (s[1] - s[0]) / 8, (h[1] - h[0]) / 8
    if abs(want - got) > ms:
        return 'is %.0f ms long instead of %.0f' % (got, want)
    a, b = max(lag, 0), max(-lag, 0)
    k = min(len(heard) - a, len(source) - b)
    hole = longest(loud(source[b:b + k], -45, 80) & ~loud(heard[a:a + k], -60, 80)) * 10
    return 'a hole of %d ms' % hole if hole > gap_ms else None


def longest(flags):
    run = most = 0
    for f in flags:
        run = run + 1 if f else 0
        most = max(most, run)
    return most


def has_tone(x, hz):
    """Share of the power that is at this frequency, ± 10 Hz."""
    p = np.abs(np.fft.rfft(x)) ** 2
    f = np.fft.rfftfreq(len(x), 1 / HZ)
    return float(p[abs(f - hz) <= 10].sum() / max(p.sum(), 1e-9))


def followed(heard, source, start=None, window=2000, reach=4000):
    """The source piece by piece through what was heard, as it goes on after interruptions: [(second of the source, correlation, lag in samples)]."""
    lag, out = best(heard, source[:4 * HZ])[1] if start is None else start, []
    for at in range(0, len(source) - window + 1, window):
        lo = max(0, at + lag - 320)
        c, k = best(heard[lo:at + lag + window + reach], source[at:at + window])
        if c >= 0.6:
            lag = lo + k - at
        out.append((at / HZ, c, lag))
    return out
