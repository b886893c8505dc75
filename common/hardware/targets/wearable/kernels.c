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

/* First place, and last + 1 of n, at which `begin + place * step` lies inside `size`. */
static inline int first(int begin, int step) { return begin < 0 ? (step - 1 - begin) / step : 0; }
static inline int last(int begin, int step, int n, int size) {
    const int inside = begin < size ? (size - begin + step - 1) / step : 0;
    return inside < n ? inside : n;
}

/* Columns of a convolution: [c * kh * kw][blocks * 4], zeros on padding and in the tail. */
#define COLUMNS(name, from, to)                                                                \
    KERNEL name(const from *x, int zero, const Shape *s, to *cols) {                           \
        const int wide = (s->oh * s->ow + 3) / 4 * 4;                                          \
        for (int c = 0; c < s->c; c++, x += s->h * s->w)                                       \
            for (int i = 0; i < s->kh; i++)                                                    \
                for (int j = 0; j < s->kw; j++, cols += wide) {                                \
                    const int top = i * s->dh - s->top, left = j * s->dw - s->left;            \
                    const int z0 = first(left, s->sw), z1 = last(left, s->sw, s->ow, s->w);    \
                    const int y1 = last(top, s->sh, s->oh, s->h);                              \
                    memset(cols, 0, wide * sizeof *cols);                                      \
                    for (int y = first(top, s->sh); y < y1; y++) {                             \
                        const from *in = x + (top + y * s->sh) * s->w + left;                  \
                        to *put = cols + y * s->ow;                                            \
                        if (s->sw == 1)                                                        \
                            for (int z = z0; z < z1; z++) put[z] = (to)(in[z] - zero);         \
                        else                                                                   \
                            for (int z = z0; z < z1; z++) put[z] = (to)(in[z * s->sw] - zero); \
                    }                                                                          \
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

/* One kernel a channel; weights [c][kh][kw], not packed. Each plane is copied between its zeros,
 * less its zero point, so that the loops over 3 x 3 and 5 x 5 kernels are free of conditions. */
#define DEPTHWISE(name, data, weight, sum)                                                     \
    static inline __attribute__((always_inline)) void name##_plane(                            \
        const sum *x, int wide, const weight *w, float scale, float bias, float *y,            \
        const Shape *s, int kh, int kw, int dh, int dw) {                                      \
        for (int i = 0; i < s->oh; i++)                                                        \
            for (int j = 0; j < s->ow; j++) {                                                  \
                const sum *in = x + i * s->sh * wide + j * s->sw;                              \
                sum acc = 0;                                                                   \
                for (int a = 0; a < kh; a++)                                                   \
                    for (int b = 0; b < kw; b++)                                               \
                        acc += in[a * dh * wide + b * dw] * w[a * kw + b];                     \
                *y++ = acc * scale + bias;                                                     \
            }                                                                                  \
    }                                                                                          \
    KERNEL name(const data *x, int zero, const weight *w, const float *bias,                   \
                const float *scale, float *y, const Shape *s) {                                \
        const int high = (s->oh - 1) * s->sh + (s->kh - 1) * s->dh + 1;                        \
        const int wide = (s->ow - 1) * s->sw + (s->kw - 1) * s->dw + 1;                        \
        const int rows = high - s->top < s->h ? high - s->top : s->h;                          \
        const int cols = wide - s->left < s->w ? wide - s->left : s->w;                        \
        const int even = s->dh == 1 && s->dw == 1 && s->kh == s->kw;                           \
        sum plane[high * wide];                                                                \
        memset(plane, 0, sizeof plane);                                                        \
        for (int c = 0; c < s->c; c++, x += s->h * s->w, w += s->kh * s->kw) {                 \
            for (int i = 0; i < rows; i++)                                                     \
                for (int j = 0; j < cols; j++)                                                 \
                    plane[(i + s->top) * wide + s->left + j] = (sum)x[i * s->w + j] - zero;    \
            const float k = scale ? scale[c] : 1, b = bias ? bias[c] : 0;                      \
            if (even && s->kh == 3)                                                            \
                name##_plane(plane, wide, w, k, b, y, s, 3, 3, 1, 1);                          \
            else if (even && s->kh == 5)                                                       \
                name##_plane(plane, wide, w, k, b, y, s, 5, 5, 1, 1);                          \
            else                                                                               \
                name##_plane(plane, wide, w, k, b, y, s, s->kh, s->kw, s->dh, s->dw);          \
            y += s->oh * s->ow;                                                                \
        }                                                                                      \
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
