/* Reference kernels, batch one, fixed shapes, no allocation. A generated program follows.
 *
 * Weights of convolutions and dense layers are packed in panels of eight output channels,
 * [outputs / 8][depth][8]; columns of a convolution come in blocks of four. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KERNEL static __attribute__((noinline, unused)) void

typedef float v4f __attribute__((vector_size(16)));
typedef int32_t v4i __attribute__((vector_size(16)));
typedef int16_t v4h __attribute__((vector_size(8)));

typedef struct { /* channels, rows, columns in; outputs, kernel, size out; steps */
    int c, h, w, o, kh, kw, oh, ow, sh, sw, top, left, dh, dw;
} Shape;

static inline float clampf(float x, float low, float high) {
    return x < low ? low : x > high ? high : x;
}
static inline float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }
static inline float hard_sigmoid(float x, float a, float b) { return clampf(a * x + b, 0, 1); }
static inline float quantised(float x, float scale, int zero, int low, int high) {
    return clampf(rintf(x / scale) + zero, low, high);
}

/* Columns of a convolution: [c * kh * kw][blocks * 4], zeros on padding and in the tail. */
#define COLUMNS(name, from, to)                                                                \
    KERNEL name(const from *x, int zero, const Shape *s, to *cols) {                           \
        const int places = s->oh * s->ow, wide = (places + 3) / 4 * 4;                         \
        for (int c = 0; c < s->c; c++)                                                         \
            for (int i = 0; i < s->kh; i++)                                                    \
                for (int j = 0; j < s->kw; j++, cols += wide) {                                \
                    to *put = cols;                                                            \
                    for (int y = 0; y < s->oh; y++) {                                          \
                        const int row = y * s->sh - s->top + i * s->dh;                        \
                        const from *in = x + (c * s->h + row) * s->w;                          \
                        for (int z = 0; z < s->ow; z++) {                                      \
                            const int col = z * s->sw - s->left + j * s->dw;                   \
                            const int inside =                                                 \
                                row >= 0 && row < s->h && col >= 0 && col < s->w;              \
                            *put++ = inside ? (to)(in[col] - zero) : 0;                        \
                        }                                                                      \
                    }                                                                          \
                    while (put < cols + wide) *put++ = 0;                                      \
                }                                                                              \
    }
COLUMNS(columns, float, float)
COLUMNS(columns_u8, uint8_t, int16_t)
COLUMNS(columns_s8, int8_t, int16_t)

/* Eight outputs by four columns, or by one: acc[i] += w[i] * c. GCC does not find the widening
 * products by itself, so NEON has its own words for the same sums. */
#ifdef __ARM_NEON
#include <arm_neon.h>
typedef float32x4x2_t Weights;
typedef int16x8_t Weights8;
static inline Weights load(const float *w) { return (Weights){{vld1q_f32(w), vld1q_f32(w + 4)}}; }
static inline Weights8 load8(const int8_t *w) { return vmovl_s8(vld1_s8(w)); }
#define TIMES(i) acc[i] = vfmaq_laneq_f32(acc[i], c, w.val[i / 4], i % 4)
#define TIMES8(i) acc[i] = (v4i)vmlal_laneq_s16((int32x4_t)acc[i], (int16x4_t)c, w, i)
static inline void add(v4f *acc, Weights w, float x) {
    acc[0] = vfmaq_n_f32(acc[0], w.val[0], x);
    acc[1] = vfmaq_n_f32(acc[1], w.val[1], x);
}
static inline void add8(v4i *acc, Weights8 w, int16_t x) {
    acc[0] = (v4i)vmlal_n_s16((int32x4_t)acc[0], vget_low_s16(w), x);
    acc[1] = (v4i)vmlal_n_s16((int32x4_t)acc[1], vget_high_s16(w), x);
}
#else
typedef const float *Weights;
typedef const int8_t *Weights8;
static inline Weights load(const float *w) { return w; }
static inline Weights8 load8(const int8_t *w) { return w; }
#define TIMES(i) acc[i] += c * w[i]
#define TIMES8(i) acc[i] += __builtin_convertvector(c, v4i) * (int)w[i]
static inline void add(v4f *acc, Weights w, float x) {
    for (int i = 0; i < 8; i++) acc[i / 4][i % 4] += w[i] * x;
}
static inline void add8(v4i *acc, Weights8 w, int16_t x) {
    for (int i = 0; i < 8; i++) acc[i / 4][i % 4] += w[i] * x;
}
#endif
#define EIGHT(term) term(0); term(1); term(2); term(3); term(4); term(5); term(6); term(7)

/* y[o][p] = bias[o] + scale[o] * sum_k panel[o / 8][k][o % 8] * cols[k][p], scale 1 where NULL */
#define MULTIPLY(name, weight, data, vector, sums, fetch, term)                                \
    KERNEL name(const weight *panel, const float *bias, const float *scale, const data *cols,  \
                float *y, int o, int depth, int places) {                                      \
        const int wide = (places + 3) / 4 * 4;                                                 \
        for (int top = 0; top < o; top += 8, panel += 8 * depth)                               \
            for (int p = 0; p < places; p += 4) {                                              \
                sums acc[8] = {{0}};                                                           \
                for (int k = 0; k < depth; k++) {                                              \
                    vector c;                                                                  \
                    memcpy(&c, cols + k * wide + p, sizeof c);                                 \
                    const __typeof__(fetch(panel)) w = fetch(panel + 8 * k);                   \
                    EIGHT(term);                                                               \
                }                                                                              \
                for (int i = 0; i < 8 && top + i < o; i++)                                     \
                    for (int j = 0; j < 4 && p + j < places; j++)                              \
                        y[(top + i) * places + p + j] =                                        \
                            acc[i][j] * (scale ? scale[top + i] : 1) +                         \
                            (bias ? bias[top + i] : 0);                                        \
            }                                                                                  \
    }
MULTIPLY(multiply, float, float, v4f, v4f, load, TIMES)
MULTIPLY(multiply8, int8_t, int16_t, v4h, v4i, load8, TIMES8)

/* The same for one column, for each of `rows` inputs; integers are already less their zero. */
#define DENSE(name, weight, data, sums, fetch, accumulate)                                     \
    KERNEL name(const weight *panel, const float *bias, const float *scale, const data *x,     \
                float *y, int o, int depth, int rows) {                                        \
        for (int r = 0; r < rows; r++, x += depth, y += o) {                                   \
            const weight *w = panel;                                                           \
            for (int top = 0; top < o; top += 8) {                                             \
                sums acc[2] = {{0}};                                                           \
                _Pragma("GCC unroll 4")                                                        \
                for (int k = 0; k < depth; k++, w += 8) accumulate(acc, fetch(w), x[k]);       \
                for (int i = 0; i < 8 && top + i < o; i++)                                     \
                    y[top + i] = acc[i / 4][i % 4] * (scale ? scale[top + i] : 1) +            \
                                 (bias ? bias[top + i] : 0);                                   \
            }                                                                                  \
        }                                                                                      \
    }
DENSE(dense, float, float, v4f, load, add)
DENSE(dense8, int8_t, int16_t, v4i, load8, add8)

/* One kernel a channel; weights [c][kh][kw], not packed. */
#define DEPTHWISE(name, data, weight, sum)                                                     \
    KERNEL name(const data *x, int zero, const weight *w, const float *bias,                   \
                     const float *scale, float *y, const Shape *s) {                           \
        for (int c = 0; c < s->c; c++, x += s->h * s->w, w += s->kh * s->kw)                   \
            for (int i = 0; i < s->oh; i++)                                                    \
                for (int j = 0; j < s->ow; j++) {                                              \
                    sum acc = 0;                                                               \
                    for (int a = 0; a < s->kh; a++) {                                          \
                        const int row = i * s->sh - s->top + a * s->dh;                        \
                        if (row < 0 || row >= s->h) continue;                                  \
                        for (int b = 0; b < s->kw; b++) {                                      \
                            const int col = j * s->sw - s->left + b * s->dw;                   \
                            if (col >= 0 && col < s->w)                                        \
                                acc += (sum)(x[row * s->w + col] - zero) * w[a * s->kw + b];   \
                        }                                                                      \
                    }                                                                          \
                    *y++ = (scale ? acc * scale[c] : acc) + (bias ? bias[c] : 0);              \
                }                                                                              \
    }
DEPTHWISE(depthwise, float, float, float)
DEPTHWISE(depthwise_u8, uint8_t, int8_t, int32_t)
DEPTHWISE(depthwise_s8, int8_t, int8_t, int32_t)

KERNEL pool(const float *x, float *y, const Shape *s, int maximum, int count_padding) {
    for (int c = 0; c < s->c; c++, x += s->h * s->w)
        for (int i = 0; i < s->oh; i++)
            for (int j = 0; j < s->ow; j++) {
                float best = maximum ? -INFINITY : 0;
                int seen = 0;
                for (int a = 0; a < s->kh; a++)
                    for (int b = 0; b < s->kw; b++) {
                        const int row = i * s->sh - s->top + a * s->dh;
                        const int col = j * s->sw - s->left + b * s->dw;
                        if (row < 0 || row >= s->h || col < 0 || col >= s->w) continue;
                        const float value = x[row * s->w + col];
                        best = maximum ? fmaxf(best, value) : best + value;
                        seen++;
                    }
                *y++ = maximum ? best : best / (count_padding ? s->kh * s->kw : seen);
            }
}

/* Each of `groups` runs of `size` numbers to mean 0 and variance 1. */
KERNEL normalise(const float *x, float *y, int groups, int size, float eps) {
    for (int g = 0; g < groups; g++, x += size, y += size) {
        float mean = 0, square = 0;
        for (int i = 0; i < size; i++) mean += x[i];
        mean /= size;
        for (int i = 0; i < size; i++) square += (x[i] - mean) * (x[i] - mean);
        const float scale = 1 / sqrtf(square / size + eps);
        for (int i = 0; i < size; i++) y[i] = (x[i] - mean) * scale;
    }
}

KERNEL softmax(const float *x, float *y, int rows, int size) {
    for (int r = 0; r < rows; r++, x += size, y += size) {
        float top = x[0], total = 0;
        for (int i = 1; i < size; i++) top = fmaxf(top, x[i]);
        for (int i = 0; i < size; i++) total += y[i] = expf(x[i] - top);
        for (int i = 0; i < size; i++) y[i] /= total;
    }
}
