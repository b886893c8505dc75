/* Log-mel spectrogram by a real FFT, as one computes it before a network that does not contain it.
 *
 * The program around it defines SAMPLES, FRAMES, HOP, WINDOW (samples of a frame), POINTS (of the
 * transform, a power of two) and MELS. Four frames are computed together, one in each lane. */
#define HALF (POINTS / 2)

typedef struct {
    v4f re, im;
} Complex;

/* The signal with POINTS / 2 samples reflected on either side, so that frames are centred. */
KERNEL reflected(const float *audio, float *y) {
    for (int i = 1; i <= HALF; i++) {
        y[HALF - i] = audio[i];
        y[HALF + SAMPLES - 1 + i] = audio[SAMPLES - 1 - i];
    }
    memcpy(y + HALF, audio, SAMPLES * sizeof *y);
}

/* Four windowed frames, even samples as real and odd as imaginary parts, in the order `places` in
 * which the butterflies take them. The window stands in the middle of a frame, zeros around it. */
KERNEL framed(const float *const *starts, const float *window, const int32_t *places, Complex *x) {
    const int left = (POINTS - WINDOW) / 2;
    memset(x, 0, HALF * sizeof *x);
    for (int i = 0; i < WINDOW; i++) {
        const int n = left + i;
        const v4f four = {starts[0][n], starts[1][n], starts[2][n], starts[3][n]};
        Complex *put = x + places[n / 2];
        *(n % 2 ? &put->im : &put->re) = four * window[i];
    }
}

/* Fourier transform of HALF complex numbers in place. `turns` are exp(-2 pi i k / POINTS). */
KERNEL transform(Complex *x, const float (*turns)[2]) {
    for (int size = 2; size <= HALF; size *= 2)
        for (int k = 0; k < size / 2; k++) {
            const float c = turns[k * (POINTS / size)][0], s = turns[k * (POINTS / size)][1];
            for (Complex *a = x + k; a < x + HALF; a += size) {
                Complex *b = a + size / 2;
                const v4f re = c * b->re - s * b->im, im = c * b->im + s * b->re;
                *b = (Complex){a->re - re, a->im - im};
                *a = (Complex){a->re + re, a->im + im};
            }
        }
}

/* Power of the HALF + 1 bins of the real frames: X[k] = E[k] + turn[k] O[k], where E and O, the
 * spectra of even and odd samples, are the symmetric parts of Z. */
KERNEL powers(const Complex *z, const float (*turns)[2], v4f *power) {
    for (int k = 0; k <= HALF; k++) {
        const Complex a = z[k % HALF], b = z[(HALF - k) % HALF];
        const v4f odd_re = a.im + b.im, odd_im = b.re - a.re;
        const v4f re = a.re + b.re + turns[k][0] * odd_re - turns[k][1] * odd_im;
        const v4f im = a.im - b.im + turns[k][0] * odd_im + turns[k][1] * odd_re;
        power[k] = 0.25f * (re * re + im * im);
    }
}

/* Decibels of every filter: `spans` are its first bin and how many follow, weights lie in a row. */
KERNEL filtered(const v4f *power, const int32_t (*spans)[2], const float *weights, float *y, int lanes) {
    for (int m = 0; m < MELS; m++) {
        v4f sum = {0};
        for (int k = 0; k < spans[m][1]; k++) sum += *weights++ * power[spans[m][0] + k];
        for (int lane = 0; lane < lanes; lane++)
            y[lane * MELS + m] = 4.34294482f * logf(fmaxf(sum[lane], 1e-10f));
    }
}

static void log_mel(const float *audio, const float *window, const int32_t *places,
                    const float (*turns)[2], const int32_t (*spans)[2], const float *weights,
                    float *decibels) {
    static float signal[SAMPLES + POINTS];
    static Complex x[HALF];
    static v4f power[HALF + 1];
    reflected(audio, signal);
    for (int t = 0; t < FRAMES; t += 4, decibels += 4 * MELS) {
        const int lanes = FRAMES - t < 4 ? FRAMES - t : 4;
        const float *starts[4];
        for (int lane = 0; lane < 4; lane++) /* lanes without a frame repeat the last */
            starts[lane] = signal + (t + (lane < lanes ? lane : lanes - 1)) * HOP;
        framed(starts, window, places, x);
        transform(x, turns);
        powers(x, turns, power);
        filtered(power, spans, weights, decibels, lanes);
    }
}
