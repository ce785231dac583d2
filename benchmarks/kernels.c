/* A stage of NAS-Bench-201's supernet, forward and backward, for benchmarks/kernels.py.
 *
 *   x_i = sum over s < i of A1 x_s + pool(A4 x_s) + A3 N(y3_s) + A2 N(y1_s)
 *
 * with A the operation weights of edge s -> i (skip, pool, 3x3, 1x1), y3 = W3 * relu(x_s),
 * y1 = W1 * relu(x_s) and N(y) = (y - mean) / sqrt(var + 1e-5) over the batch. Backward, with g the
 * gradient of N's output times A, n pixels and r = 1 / sqrt(var + 1e-5):
 *
 *   dy = r A (g - sum(g) / n - (y - mean) r^2 sum(g (y - mean)) / n)
 *
 * Images are planes and pixels stand in the lanes, so any number of channels fills a vector. A 3x3
 * convolution reads three copies of a plane, shifted by a pixel to the left, not at all, and to the
 * right; one row up or down is an offset. Its input gradient keeps three sums per channel apart,
 * one per kx, and shifts these. Moments take two passes over a plane that is in the cache, and are
 * merged in double precision. No fast-math flag: NaN and infinity go through.
 *
 * Compiled for one size: REAL, INT (as wide), LANES, VT vectors of a tile, C channels, H x W
 * pixels, and before the cells CI channels and a STRIDE of 1 (stem) or 2 (reduction). C is a
 * multiple of 4. Scratch belongs to a thread.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

#ifndef VT
#define VT 4
#endif
#define CT 4
#define NODES 4
#define P (H * W)
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 64")
#define VPI (P <= LANES ? 1 : P <= 2 * LANES ? 2 : (P + VT * LANES - 1) / (VT * LANES) * VT)
#define PP (VPI * LANES)             /* a plane, padded to whole vectors */
#define SP (PP + W)                  /* a plane and the empty row between it and the next */
#define G (VPI >= VT ? 1 : VT / VPI) /* images that share a tile of vectors */
#ifndef GV
#define GV 64
#endif
#define GB (VPI >= GV ? 1 : GV / VPI) /* images of a backward group: a multiple of G */
#define HALO (W + LANES)
#define CP ((C + CT - 1) / CT * CT)

typedef REAL V __attribute__((vector_size(LANES * sizeof(REAL)), aligned(sizeof(REAL)), may_alias));
typedef INT M __attribute__((vector_size(LANES * sizeof(REAL)), aligned(sizeof(REAL)), may_alias));
typedef const REAL *R;

INLINE V at(R p) { return *(const V *)p; }
INLINE void put(REAL *p, V v) { *(V *)p = v; }
/* In a register: gcc would load it again for every product, and loads that cross cache lines cost
 * double. */
INLINE V once(R p) {
  V v = at(p);
  __asm__("" : "+v"(v));
  return v;
}
INLINE V kept(V x, M m) { return (V)((M)x & m); }
INLINE V rectified(V x) { return kept(x, ~(M)(x <= 0)); }
static INT turn[LANES][LANES];
INLINE REAL total(V v) {
  UNROLL
  for (int k = LANES / 2; k; k /= 2) v += __builtin_shuffle(v, *(M *)turn[k]);
  return v[0];
}

/* Which pixels have a neighbour to the left, to the right; which are pixels; 1 / window. */
static INT left[PP], right[PP], pixel[PP];
static REAL share[PP];

void prepare(void) {
  for (int k = 0; k < LANES; k++)
    for (int i = 0; i < LANES; i++) turn[k][i] = (i + k) % LANES;
  for (int p = 0; p < PP; p++) {
    int x = p % W, y = p / W, in = p < P;
    left[p] = -(INT)(in && x > 0), right[p] = -(INT)(in && x < W - 1), pixel[p] = -(INT)in;
    share[p] = in ? (REAL)1 / ((1 + (x > 0) + (x < W - 1)) * (1 + (y > 0) + (y < H - 1))) : 0;
  }
}

/* ---- convolutions: xs is [kx][ci][G][SP] (or [ci][G][SP]) from the first pixel of the first image
 * on */

#define OFF(v) ((VPI >= VT ? 0 : (v) / VPI) * SP + (VPI >= VT ? (v) : (v) % VPI) * LANES)

/* Where the pixels under a tap begin. Stride 2: planes are [kx][even or odd rows][ci]. */
#define TAP(stride, inputs, i, images, ky, kx)                          \
  ((stride) == 1                                                        \
       ? (long)((kx) * (inputs) + (i)) * (images) * SP + ((ky) - 1) * W \
       : (long)(((kx) * 2 + ((ky) != 1)) * (inputs) + (i)) * (images) * SP - ((ky) == 0) * W)

/* acc[co][v] += sum over ci and taps of w[ci][tap][co] x */
INLINE void forward_tile(R xs, R w, int inputs, int taps, int stride, int images, V acc[CT][VT]) {
  for (int i = 0; i < inputs; i++)
    for (int kx = taps == 9 ? 0 : 1; kx < (taps == 9 ? 3 : 2); kx++)
      for (int ky = taps == 9 ? 0 : 1; ky < (taps == 9 ? 3 : 2); ky++, w += CT) {
        R x = xs + TAP(stride, inputs, i, images, ky, kx);
        V u[VT];
        UNROLL
        for (int v = 0; v < VT; v++) u[v] = once(x + OFF(v));
        UNROLL
        for (int o = 0; o < CT; o++) UNROLL
        for (int v = 0; v < VT; v++) acc[o][v] += w[o] * u[v];
      }
}

/* y [image][channel][PP] of a group; weights [tile][ci][tap][CT] */
INLINE void convolve(R xs, R w, int inputs, int outputs, int taps, int stride, int here, REAL *y,
                     long step) {
  for (int o = 0; o < outputs; o += CT)
    for (int v0 = 0; v0 < G * VPI; v0 += VT) {
      V acc[CT][VT] = {0};
      forward_tile(xs + (VPI >= VT ? v0 * LANES : 0), w + (long)o * inputs * taps, inputs, taps,
                   stride, G, acc);
      UNROLL
      for (int v = 0; v < VT; v++) {
        int n = VPI >= VT ? 0 : v / VPI, p = VPI >= VT ? v0 + v : v % VPI;
        if (n < here) UNROLL
        for (int c = 0; c < CT; c++)
          if (o + c < outputs) {
            V r = acc[c][v];
            if (P < PP) r = kept(r, *(M *)(pixel + p * LANES));
            put(y + n * step + (long)(o + c) * PP + p * LANES, r);
          }
      }
    }
}

/* x and its left and right neighbours: out [kx][planes][..] */
INLINE void shifted(R x, REAL *out, long step, int relu) {
  for (int p = 0; p < PP; p += LANES) {
    V l = at(x + p - 1), m = at(x + p), r = at(x + p + 1);
    if (relu) l = rectified(l), m = rectified(m), r = rectified(r);
    put(out + p, kept(l, *(M *)(left + p)));
    put(out + step + p, m);
    put(out + 2 * step + p, kept(r, *(M *)(right + p)));
  }
}

/* Mean and sum of squared deviations over the pixels of one plane, added to those of `count`. */
INLINE void moments(R y, long count, double *mean, double *square) {
  V s = {0}, q = {0};
  for (int p = 0; p < PP; p += LANES) s += at(y + p);
  REAL m = total(s) / P;
  for (int p = 0; p < PP; p += LANES) {
    V d = at(y + p) - m;
    if (P < PP) d = kept(d, *(M *)(pixel + p));
    q += d * d;
  }
  double delta = m - *mean, all_ = count + P;
  *mean += delta * P / all_;
  *square += total(q) + delta * delta * count * P / all_;
}

/* ---- scratch of one call */
typedef struct {
  REAL *xs, *dy, *s, *t, *h, *wide;
} Scratch;
#define FRESH(name, n)                                                                        \
  static _Thread_local REAL name##_[(n) + 2 * HALO + 2 * LANES] __attribute__((aligned(64))); \
  REAL *name = name##_ + LANES

/* Average pool of t (with a lane before and after it), by rows: h between two empty rows. */
INLINE void rows(R t, REAL *h, int transposed) {
  for (int p = 0; p < PP; p += LANES)
    put(h + p,
        at(t + p) + kept(at(t + p - 1), *(M *)(left + p)) + kept(at(t + p + 1), *(M *)(right + p)));
}
INLINE V window(R h, int p) { return at(h + p) + at(h + p - W) + at(h + p + W); }

#define EDGE(i, j) ((i) * ((i) - 1) / 2 + (j))
#define EDGES EDGE(NODES, 0)
#define KS(j) ((NODES - 1 - (j)) * C) /* outputs of one kind of convolution of node j */

/* x_i = sum over s of A1 x_s + pool(A4 x_s) + q3 y3_s + q1 y1_s + constant, for one image */
INLINE void node(int i, R *x, R *y, R a, const double *q, REAL *t, REAL *h, REAL *out) {
  for (int c = 0; c < C; c++) {
    for (int p = 0; p < PP; p += LANES) {
      V v = {0};
      UNROLL
      for (int s = 0; s < i; s++) v += a[EDGE(i, s) * 5 + 4] * at(x[s] + c * PP + p);
      put(t + p, v);
    }
    rows(t, h, 0);
    REAL k = 0, q3[NODES], q1[NODES];
    UNROLL
    for (int s = 0; s < i; s++) {
      const double *m = q + (s * C + c) * 3;
      q3[s] = m[0], q1[s] = m[1], k += m[2];
    }
    for (int p = 0; p < PP; p += LANES) {
      V v = k + at(share + p) * window(h, p);
      UNROLL
      for (int s = 0; s < i; s++) {
        int o = (i - s - 1) * C + c;
        v += a[EDGE(i, s) * 5 + 1] * at(x[s] + c * PP + p) + q3[s] * at(y[s] + o * PP + p) +
             q1[s] * at(y[s] + (KS(s) + o) * PP + p);
      }
      if (P < PP) v = kept(v, *(M *)(pixel + p));
      put(out + c * PP + p, v);
    }
  }
}

/* Weights of node j for the forward pass: leaves f3, f1 by edge [co][ci][3][3] and [co][ci]. */
static void pack_forward(int j, R *f, REAL *w3, REAL *w1) {
  memset(w3, 0, sizeof(REAL) * 9 * C * (KS(j) + CT)),
      memset(w1, 0, sizeof(REAL) * C * (KS(j) + CT));
  for (int o = 0; o < KS(j); o++) {
    int e = EDGE(j + 1 + o / C, j), c = o % C;
    for (int i = 0; i < C; i++) {
      for (int t = 0; t < 9; t++)
        w3[((o / CT * C + i) * 9 + t % 3 * 3 + t / 3) * CT + o % CT] = f[e][(c * C + i) * 9 + t];
      w1[(o / CT * C + i) * CT + o % CT] = f[EDGES + e][c * C + i];
    }
  }
}

/* x[0..3]: [N][C][PP], y[0..2]: [N][2 K][PP]; stat: mean, 1/s by node [2 K], then variance */
void cell_forward(int N, REAL **x, REAL **y, R a, R *f, double *mean, double *inv, double *var) {
  FRESH(xs, 3L * C * G * SP);
  FRESH(t, SP);
  FRESH(h, SP);
  FRESH(w3, 9L * C * (KS(0) + CT));
  FRESH(w1, (long)C * (KS(0) + CT));
  double q[3][NODES * C * 3];
  for (int i = 0; i < NODES; i++) {
    int K = KS(i);
    double *m = mean + i * 2 * KS(0), *v = var + i * 2 * KS(0), *r = inv + i * 2 * KS(0);
    if (i < NODES - 1) pack_forward(i, f, w3, w1);
    for (int k = 0; k < 2 * K; k++) m[k] = v[k] = 0;
    for (int n = 0; n < N; n += G) {
      int here = N - n < G ? N - n : G;
      for (int g = 0; g < here; g++) {
        R xn[NODES], yn[NODES];
        for (int s = 0; s < i; s++)
          xn[s] = x[s] + (long)(n + g) * C * PP, yn[s] = y[s] + (long)(n + g) * 2 * KS(s) * PP;
        REAL *out = x[i] + (long)(n + g) * C * PP;
        if (i == 1) node(1, xn, yn, a, q[0], t + HALO, h + HALO, out);
        if (i == 2) node(2, xn, yn, a, q[1], t + HALO, h + HALO, out);
        if (i == 3) node(3, xn, yn, a, q[2], t + HALO, h + HALO, out);
        if (i < NODES - 1)
          for (int c = 0; c < C; c++)
            shifted(out + c * PP, xs + HALO + ((long)c * G + g) * SP, (long)C * G * SP, 1);
      }
      if (i == NODES - 1) continue;
      for (int g = here; g < G; g++)
        for (int c = 0; c < 3 * C; c++)
          memset(xs + HALO + ((long)c * G + g) * SP, 0, PP * sizeof(REAL));
      REAL *yn = y[i] + (long)n * 2 * K * PP;
      convolve(xs + HALO, w3, C, K, 9, 1, here, yn, 2L * K * PP);
      convolve(xs + HALO, w1, C, K, 1, 1, here, yn + (long)K * PP, 2L * K * PP);
      for (int g = 0; g < here; g++)
        for (int k = 0; k < 2 * K; k++)
          moments(yn + ((long)g * 2 * K + k) * PP, (long)(n + g) * P, m + k, v + k);
    }
    if (i == NODES - 1) break;
    for (int k = 0; k < 2 * K; k++) v[k] /= (double)N * P, r[k] = 1 / sqrt(v[k] + 1e-5);
    for (int s = 0; s <= i; s++) /* what node i + 1 takes from s */
      for (int c = 0; c < C; c++) {
        int e = EDGE(i + 1, s), o = s * 2 * KS(0) + (i - s) * C + c, p = o + KS(s);
        double *z = q[i] + (s * C + c) * 3;
        z[0] = a[e * 5 + 3] * inv[o], z[1] = a[e * 5 + 2] * inv[p],
        z[2] = -z[0] * mean[o] - z[1] * mean[p];
      }
  }
}

/* ---- backward */

/* Sums over the pixels of one image: g; and by source g (y3 - mean), g (y1 - mean), g x, pool'(g)
 * x. */
INLINE void sums(int i, R g, R *x, R *y, const double *mean, int alpha, REAL *t, REAL *h,
                 double *out) {
  for (int c = 0; c < C; c++) {
    V total_ = {0}, s3[NODES] = {0}, s1[NODES] = {0}, sx[NODES] = {0}, sp[NODES] = {0};
    if (alpha) {
      for (int p = 0; p < PP; p += LANES) put(t + p, at(g + c * PP + p) * at(share + p));
      rows(t, h, 1);
    }
    for (int p = 0; p < PP; p += LANES) {
      V v = at(g + c * PP + p);
      total_ += v;
      UNROLL
      for (int s = 0; s < i; s++) {
        int o = (i - s - 1) * C + c;
        REAL m3 = mean[s * 2 * KS(0) + o], m1 = mean[s * 2 * KS(0) + KS(s) + o];
        s3[s] += v * (at(y[s] + o * PP + p) - m3);
        s1[s] += v * (at(y[s] + (KS(s) + o) * PP + p) - m1);
        if (alpha) {
          V u = at(x[s] + c * PP + p);
          sx[s] += v * u, sp[s] += window(h, p) * u;
        }
      }
    }
    out[c] += total(total_);
    UNROLL
    for (int s = 0; s < i; s++) {
      double *z = out + (1 + 4 * s) * C + c;
      z[0] += total(s3[s]), z[C] += total(s1[s]);
      if (alpha) z[2 * C] += total(sx[s]), z[3 * C] += total(sp[s]);
    }
  }
}

/* Weights of node j for the input gradient: [tile of 2 ci][k][ky][2][3 kx], and [ci / 2][k][2]. */
static void pack_backward(int j, R *f, REAL *w3, REAL *w1) {
  int K = KS(j);
  for (int k = 0; k < K; k++) {
    int e = EDGE(j + 1 + k / C, j), c = k % C;
    for (int i = 0; i < C; i++) {
      for (int ky = 0; ky < 3; ky++)
        for (int kx = 0; kx < 3; kx++)
          w3[(((i / 2 * K + k) * 3 + ky) * 2 + i % 2) * 3 + kx] =
              f[e][(c * C + i) * 9 + (2 - ky) * 3 + (2 - kx)];
      w1[(i / 2 * K + k) * 2 + i % 2] = f[EDGES + e][c * C + i];
    }
  }
}

/* Sums of two input channels, kept apart by kx: s [C][3][images GB][SP]; dy [2 K][GB][SP]. */
INLINE void input_tile(R dy, R w3, R w1, int K, int K1, REAL *s) {
  V acc[2][3][VT] = {0};
  for (int k = 0; k < K; k++) UNROLL
  for (int ky = 0; ky < 3; ky++) {
    R d = dy + (long)k * GB * SP + (ky - 1) * W, f = w3 + (k * 3 + ky) * 6;
    UNROLL
    for (int v = 0; v < VT; v++) {
      V u = once(d + OFF(v));
      UNROLL
      for (int o = 0; o < 6; o++) acc[o / 3][o % 3][v] += f[o] * u;
    }
  }
  for (int k = 0; k < K1; k++) {
    R d = dy + (long)(K + k) * GB * SP, f = w1 + k * 2;
    UNROLL
    for (int v = 0; v < VT; v++) {
      V u = once(d + OFF(v));
      acc[0][1][v] += f[0] * u, acc[1][1][v] += f[1] * u;
    }
  }
  UNROLL
  for (int o = 0; o < 6; o++) UNROLL
  for (int v = 0; v < VT; v++) put(s + (long)o * GB * SP + OFF(v), acc[o / 3][o % 3][v]);
}

/* Input gradients of a group. */
INLINE void input_gradient(R dy, R w3, R w1, int K, int K1, int here, REAL *s) {
  for (int g = 0; g < here; g += G)
    for (int c = 0; c < C; c += 2)
      for (int v0 = 0; v0 < G * VPI; v0 += VT) {
        long o = (long)g * SP + (VPI >= VT ? v0 * LANES : 0);
        input_tile(dy + o, w3 + (long)c / 2 * K * 18, w1 + c / 2 * K * 2, K, K1,
                   s + (long)c * 3 * GB * SP + o);
      }
}

/* Weight gradients of CT outputs and N inputs or taps, whose planes begin at x[t]. */
#define WEIGHT_TILE(N, PLACE)                                           \
  V acc[CT][N] = {0};                                                   \
  for (int g = 0; g < here; g++)                                        \
    for (int p = 0; p < PP; p += LANES) {                               \
      V u[N];                                                           \
      UNROLL                                                            \
      for (int t = 0; t < N; t++) u[t] = once(x[t] + (long)g * SP + p); \
      UNROLL                                                            \
      for (int o = 0; o < CT; o++) {                                    \
        V d = once(dy + ((long)o * GB + g) * SP + p);                   \
        UNROLL                                                          \
        for (int t = 0; t < N; t++) acc[o][t] += d * u[t];              \
      }                                                                 \
    }                                                                   \
  UNROLL                                                                \
  for (int o = 0; o < CT; o++) UNROLL                                   \
  for (int t = 0; t < N; t++) PLACE += total(acc[o][t]);

INLINE void weight_tile3(R dy, R xs, int inputs, int i, int stride, int kx, int here, REAL *dw) {
  R x[3];
  UNROLL
  for (int t = 0; t < 3; t++) x[t] = xs + TAP(stride, inputs, i, GB, t, kx);
  WEIGHT_TILE(3, dw[(o * inputs + i) * 9 + t * 3 + kx])
}
INLINE void weight_tile1(R dy, R xs, int inputs, int i, int here, REAL *dw) {
  R x[4];
  UNROLL
  for (int t = 0; t < 4; t++) x[t] = xs + TAP(1, inputs, i + t, GB, 1, 1);
  WEIGHT_TILE(4, dw[o * inputs + i + t])
}

/* dw [outputs][inputs][taps] += ; dy [outputs][GB][SP] */
INLINE void weight_gradient(R dy, R xs, int inputs, int outputs, int taps, int stride, int here,
                            REAL *dw) {
  for (int o = 0; o < outputs; o += CT) {
    R d = dy + (long)o * GB * SP;
    REAL *w = dw + (long)o * inputs * taps;
    if (taps == 9)
      for (int i = 0; i < inputs; i++)
        for (int kx = 0; kx < 3; kx++) weight_tile3(d, xs, inputs, i, stride, kx, here, w);
    else
      for (int i = 0; i < inputs; i += 4) weight_tile1(d, xs, inputs, i, here, w);
  }
}

/* g[0..3]: gradients of the nodes, the last one given; da [6][5]; d: of the filters by edge, 3x3,
   then 1x1; both are added to. alpha, weights, input: whether their gradients are asked for. */
void cell_backward(int N, REAL **g, REAL **x, REAL **y, R a, R *f, const double *mean,
                   const double *inv, int alpha, int weights, int input, double *da, REAL **d) {
  FRESH(xs, 3L * C * GB * SP);
  FRESH(dy, 2L * KS(0) * GB * SP);
  FRESH(s, 3L * C * GB * SP);
  FRESH(t, SP);
  FRESH(h, SP);
  FRESH(w3, 9L * C * KS(0));
  FRESH(w1, (long)C * KS(0));
  double z[NODES][(1 + 4 * (NODES - 1)) * C];
  memset(z, 0, sizeof z);
  REAL *T = t + HALO, *Hh = h + HALO;
  R xn[NODES], yn[NODES], gn[NODES];
#define HERE(n)                                                     \
  do {                                                              \
    for (int q = 0; q < NODES; q++) {                               \
      xn[q] = x[q] + (long)(n) * C * PP;                            \
      gn[q] = g[q] + (long)(n) * C * PP;                            \
      if (q < NODES - 1) yn[q] = y[q] + (long)(n) * 2 * KS(q) * PP; \
    }                                                               \
  } while (0)
  for (int n = 0; n < N; n++) {
    HERE(n);
    sums(3, gn[3], xn, yn, mean, alpha, T, Hh, z[3]);
  }
  for (int j = NODES - 2; j >= 0; j--) {
    int K = KS(j), i = j + 1;
    const double *m = mean + j * 2 * KS(0), *r = inv + j * 2 * KS(0);
    if (alpha)
      for (int q = 0; q < i; q++) {
        double *e = da + EDGE(i, q) * 5;
        const double *u = z[i] + (1 + 4 * q) * C, *rq = inv + q * 2 * KS(0) + (i - q - 1) * C;
        for (int c = 0; c < C; c++)
          e[3] += rq[c] * u[c], e[2] += rq[KS(q) + c] * u[C + c], e[1] += u[2 * C + c],
              e[4] += u[3 * C + c];
      }
    int back = j > 0 || input;
    if (!back && !weights) break;
    if (back) pack_backward(j, f, w3, w1);
    for (int n = 0; n < N; n += GB) {
      int here = N - n < GB ? N - n : GB;
      for (int b = 0; b < here; b++) {
        HERE(n + b);
        if (weights)
          for (int c = 0; c < C; c++)
            shifted(xn[j] + c * PP, xs + HALO + ((long)c * GB + b) * SP, (long)C * GB * SP, 1);
        for (int k = 0; k < 2 * K; k++) {
          int o = k % K, to = j + 1 + o / C, c = o % C, kind = k / K;
          double al = a[EDGE(to, j) * 5 + 3 - kind] * r[k], S = z[to][(1 + 4 * j + kind) * C + c],
                 count = (double)N * P;
          double be = -al * r[k] * r[k] * S / count, cst = -al * z[to][c] / count - be * m[k];
          REAL A = al, B = be, D = cst, *out = dy + HALO + ((long)k * GB + b) * SP;
          R gg = gn[to] + c * PP, yy = yn[j] + (long)k * PP;
          for (int p = 0; p < PP; p += LANES) {
            V v = A * at(gg + p) + (B * at(yy + p) + D);
            if (P < PP) v = kept(v, *(M *)(pixel + p));
            put(out + p, v);
          }
        }
      }
      if (weights) {
        for (int e = 0; e < NODES - 1 - j; e++) {
          R to = dy + HALO + (long)e * C * GB * SP;
          weight_gradient(to, xs + HALO, C, C, 9, 1, here, d[EDGE(j + 1 + e, j)]);
          weight_gradient(to + (long)K * GB * SP, xs + HALO, C, C, 1, 1, here,
                          d[EDGES + EDGE(j + 1 + e, j)]);
        }
      }
      if (!back) continue;
      input_gradient(dy + HALO, w3, w1, K, K, here, s + HALO);
      for (int b = 0; b < here; b++) {
        HERE(n + b);
        REAL *out = g[j] + (long)(n + b) * C * PP;
        for (int c = 0; c < C; c++) {
          for (int p = 0; p < PP; p += LANES) {
            V v = {0};
            for (int to = j + 1; to < NODES; to++)
              v += a[EDGE(to, j) * 5 + 4] * at(gn[to] + c * PP + p);
            put(T + p, v * at(share + p));
          }
          rows(T, Hh, 1);
          R sc = s + HALO + ((long)c * 3 * GB + b) * SP;
          for (int p = 0; p < PP; p += LANES) {
            V v = kept(at(sc + p - 1), *(M *)(left + p)) + at(sc + (long)GB * SP + p) +
                  kept(at(sc + 2L * GB * SP + p + 1), *(M *)(right + p));
            V u = window(Hh, p) + kept(v, ~(M)(at(xn[j] + c * PP + p) <= 0));
            for (int to = j + 1; to < NODES; to++)
              u += a[EDGE(to, j) * 5 + 1] * at(gn[to] + c * PP + p);
            if (P < PP) u = kept(u, *(M *)(pixel + p));
            put(out + c * PP + p, u);
          }
        }
        if (j == 2) sums(2, out, xn, yn, mean, alpha, T, Hh, z[2]);
        if (j == 1) sums(1, out, xn, yn, mean, alpha, T, Hh, z[1]);
      }
    }
  }
}

/* ---- what stands before the cells of a stage: the stem (STRIDE 1) or a reduction (STRIDE 2) */
#define VI(p) ((p) <= LANES ? 1 : (p) <= 2 * LANES ? 2 : ((p) + VT * LANES - 1) / (VT * LANES) * VT)
#define PI (VI(P * STRIDE * STRIDE) * LANES) /* a plane of the input */
#define WI (W * STRIDE)
#define LAST (STRIDE - 1) /* the last batch norm */

/* The planes under the taps of a stride of 2, rectified: out [kx][even, odd][ci][..] */
INLINE void halved(R x, REAL *out, long step) {
  for (int odd = 0; odd < 2; odd++)
    for (int y = 0; y < H; y++) {
      R row = x + (2 * y + odd) * WI;
      REAL *o = out + odd * step + y * W;
      for (int i = 0; i < W; i++) {
        REAL l = i ? row[2 * i - 1] : 0, m = row[2 * i], r = row[2 * i + 1];
        o[i] = l <= 0 ? 0 : l, o[2 * step + i] = m <= 0 ? 0 : m, o[4 * step + i] = r <= 0 ? 0 : r;
      }
    }
}
INLINE void pooled(R x, REAL *out) {
  for (int i = 0; i < H; i++)
    for (int j = 0; j < W; j++) {
      R s = x + 2 * i * WI + 2 * j;
      out[i * W + j] = (REAL)0.25 * (s[0] + s[1] + s[WI] + s[WI + 1]);
    }
}
/* Filters [co][ci][ky][kx] as forward_tile reads them: [tile][ci][kx][ky][CT]. */
static void pack(R f, int inputs, int outputs, int taps, REAL *w) {
  for (int o = 0; o < outputs; o++)
    for (int i = 0; i < inputs; i++)
      for (int t = 0; t < taps; t++)
        w[((o / CT * inputs + i) * taps + (taps == 9 ? t % 3 * 3 + t / 3 : 0)) * CT + o % CT] =
            f[(o * inputs + i) * taps + t];
}

/* What the convolution of batch norm b sees of a group: shifted planes. */
INLINE void seen(int b, int here, int images, R x, R y, R scale, R shift, REAL *row, REAL *xs) {
  for (int g = 0; g < here; g++)
    for (int c = 0; c < (b ? C : CI); c++) {
      REAL *out = xs + ((long)c * images + g) * SP;
      long step = (long)(b ? C : CI) * images * SP;
      if (b) {
        R yc = y + ((long)g * C + c) * PP;
        for (int p = 0; p < PP; p += LANES)
          put(row + p, kept(scale[c] * at(yc + p) + shift[c], *(M *)(pixel + p)));
        shifted(row, out, step, 1);
      } else if (STRIDE == 1)
        shifted(x + ((long)g * CI + c) * PI, out, step, 0);
      else
        halved(x + ((long)g * CI + c) * PI, out, step);
    }
}

/* f: filters, gamma, beta of the stem; or conv_a, gamma, beta, conv_b, gamma, beta, shortcut.
   y: [N][C][PP] of each convolution; mean, inv, var: [C] of each batch norm. */
void entry_forward(int N, R x, REAL **f, REAL **y, REAL *out, double *mean, double *inv,
                   double *var) {
  FRESH(xs, (6L * CI + 3 * C) * G * SP);
  REAL *zs = xs + 6L * CI * G * SP;
  FRESH(row, PP);
  FRESH(wa, 9L * CI * CP);
  FRESH(wb, 9L * C * CP);
  FRESH(wc, (long)CI * CP);
  REAL scale[2][C];
  REAL shift[2][C];
  pack(f[0], CI, C, 9, wa);
  if (STRIDE == 2) pack(f[3], C, C, 9, wb), pack(f[6], CI, C, 1, wc);
  for (int b = 0; b < STRIDE; b++) {
    double *m = mean + b * C, *v = var + b * C, *r = inv + b * C;
    for (int c = 0; c < C; c++) m[c] = v[c] = 0;
    for (int n = 0; n < N; n += G) {
      int here = N - n < G ? N - n : G;
      REAL *yn = y[b] + (long)n * C * PP, *s = (b ? zs : xs) + HALO;
      seen(b, here, G, x + (long)n * CI * PI, y[0] + (long)n * C * PP, scale[0], shift[0], row, s);
      if (b == 0)
        convolve(s, wa, CI, C, 9, STRIDE, here, yn, (long)C * PP);
      else
        convolve(s, wb, C, C, 9, 1, here, yn, (long)C * PP);
      for (int g = 0; g < here; g++)
        for (int c = 0; c < C; c++)
          moments(yn + ((long)g * C + c) * PP, (long)(n + g) * P, m + c, v + c);
    }
    for (int c = 0; c < C; c++) {
      v[c] /= (double)N * P, r[c] = 1 / sqrt(v[c] + 1e-5);
      scale[b][c] = f[1 + 3 * b][c] * r[c],
      shift[b][c] = f[2 + 3 * b][c] - f[1 + 3 * b][c] * r[c] * m[c];
    }
  }
  for (int n = 0; n < N; n += G) {
    int here = N - n < G ? N - n : G;
    REAL *on = out + (long)n * C * PP;
    if (STRIDE == 2) {
      for (int g = 0; g < here; g++)
        for (int c = 0; c < CI; c++)
          pooled(x + ((long)(n + g) * CI + c) * PI, xs + HALO + ((long)c * G + g) * SP);
      convolve(xs + HALO - (long)CI * G * SP, wc, CI, C, 1, 1, here, on, (long)C * PP);
    }
    for (int g = 0; g < here; g++)
      for (int c = 0; c < C; c++)
        for (int p = 0; p < PP; p += LANES) {
          long o = ((long)g * C + c) * PP + p;
          V v = scale[LAST][c] * at(y[LAST] + (long)n * C * PP + o) + shift[LAST][c];
          if (STRIDE == 2) v += at(on + o);
          put(on + o, P < PP ? kept(v, *(M *)(pixel + p)) : v);
        }
  }
}

INLINE void plane_sums(R g, R y, double mean, double *z) {
  V s = {0}, q = {0};
  REAL m = mean;
  for (int p = 0; p < PP; p += LANES) s += at(g + p), q += at(g + p) * (at(y + p) - m);
  z[0] += total(s), z[C] += total(q);
}

/* Sums of one input channel by row parity and kx, stride 2: s [6][GB][SP] */
INLINE void halved_tile(R dy, R w, REAL *s) {
  V acc[6][VT] = {0};
  for (int k = 0; k < C; k++) {
    R d = dy + (long)k * GB * SP, f = w + k * 9;
    UNROLL
    for (int v = 0; v < VT; v++) {
      V u = once(d + OFF(v)), below = once(d + OFF(v) + W);
      UNROLL
      for (int kx = 0; kx < 3; kx++)
        acc[kx][v] += f[3 + kx] * u, acc[3 + kx][v] += f[6 + kx] * u + f[kx] * below;
    }
  }
  UNROLL
  for (int o = 0; o < 6; o++) UNROLL
  for (int v = 0; v < VT; v++) put(s + (long)o * GB * SP + OFF(v), acc[o][v]);
}

/* d: gradients in the order of f (filters zeroed before); dx [N][CI][PI] or null; work [N][C][PP]
 */
void entry_backward(int N, R g, R x, REAL **f, REAL **y, const double *mean, const double *inv,
                    int weights, REAL *dx, REAL *work, REAL **d) {
  FRESH(xs, (6L * CI + 3 * C) * GB * SP);
  REAL *zs = xs + 6L * CI * GB * SP;
  FRESH(row, PP);
  FRESH(dy, (long)C * GB * SP);
  FRESH(s, (3L * C + 6) * GB * SP);
  FRESH(w, 9L * C * C);
  REAL scale[C], shift[C];
  double z[2][2 * C];
  memset(z, 0, sizeof z);
  for (int c = 0; c < C; c++)
    scale[c] = f[1][c] * inv[c], shift[c] = f[2][c] - f[1][c] * inv[c] * mean[c];
  for (int n = 0; n < N; n++)
    for (int c = 0; c < C; c++)
      plane_sums(g + ((long)n * C + c) * PP, y[LAST] + ((long)n * C + c) * PP, mean[LAST * C + c],
                 z[LAST] + c);
  for (int b = LAST; b >= 0; b--) {
    const double *m = mean + b * C, *r = inv + b * C;
    REAL A[C], B[C], D[C];
    for (int c = 0; c < C; c++) {
      double al = f[1 + 3 * b][c] * r[c], be = -al * r[c] * r[c] * z[b][C + c] / ((double)N * P);
      A[c] = al, B[c] = be, D[c] = -al * z[b][c] / ((double)N * P) - be * m[c];
      if (weights) d[1 + 3 * b][c] = r[c] * z[b][C + c], d[2 + 3 * b][c] = z[b][c];
      if (b == 1)
        for (int i = 0; i < C; i++)
          for (int t = 0; t < 9; t++)
            w[(((i / 2 * C + c) * 3 + t / 3) * 2 + i % 2) * 3 + t % 3] =
                f[3][(c * C + i) * 9 + 8 - t];
      else
        for (int i = 0; i < CI; i++)
          for (int t = 0; t < 9; t++) w[(i * C + c) * 9 + t] = f[0][(c * CI + i) * 9 + t];
    }
    for (int n = 0; n < N; n += GB) {
      int here = N - n < GB ? N - n : GB;
      R gn = (b == LAST ? g : work) + (long)n * C * PP, yn = y[b] + (long)n * C * PP,
        ya = y[0] + (long)n * C * PP, xn = x + (long)n * CI * PI;
      if (b == 1 && weights) { /* the shortcut */
        for (int q = 0; q < here; q++) {
          for (int c = 0; c < C; c++)
            memcpy(dy + HALO + ((long)c * GB + q) * SP, gn + ((long)q * C + c) * PP,
                   PP * sizeof(REAL));
          for (int c = 0; c < CI; c++)
            pooled(xn + ((long)q * CI + c) * PI, xs + HALO + ((long)c * GB + q) * SP);
        }
        weight_gradient(dy + HALO, xs + HALO - (long)CI * GB * SP, CI, C, 1, 1, here, d[6]);
      }
      for (int q = 0; q < here; q++)
        for (int c = 0; c < C; c++)
          for (int p = 0; p < PP; p += LANES) {
            long o = ((long)q * C + c) * PP + p;
            V v = A[c] * at(gn + o) + (B[c] * at(yn + o) + D[c]);
            put(dy + HALO + ((long)c * GB + q) * SP + p, P < PP ? kept(v, *(M *)(pixel + p)) : v);
          }
      if (weights) {
        REAL *u = (b ? zs : xs) + HALO;
        seen(b, here, GB, xn, ya, scale, shift, row, u);
        if (b)
          weight_gradient(dy + HALO, u, C, C, 9, 1, here, d[3]);
        else
          weight_gradient(dy + HALO, u, CI, C, 9, STRIDE, here, d[0]);
      }
      if (b == 1) {
        input_gradient(dy + HALO, w, 0, C, 0, here, s + HALO);
        for (int q = 0; q < here; q++)
          for (int c = 0; c < C; c++) {
            long o = ((long)(n + q) * C + c) * PP;
            R sc = s + HALO + ((long)c * 3 * GB + q) * SP;
            for (int p = 0; p < PP; p += LANES) {
              V v = kept(at(sc + p - 1), *(M *)(left + p)) + at(sc + (long)GB * SP + p) +
                    kept(at(sc + 2L * GB * SP + p + 1), *(M *)(right + p));
              put(work + o + p,
                  kept(v, *(M *)(pixel + p) & ~(M)(scale[c] * at(y[0] + o + p) + shift[c] <= 0)));
            }
            plane_sums(work + o, y[0] + o, mean[c], z[0] + c);
          }
      } else if (dx)
        for (int c = 0; c < CI; c++) {
          for (int q = 0; q < here; q += G)
            for (int v0 = 0; v0 < G * VPI; v0 += VT) {
              long o = (long)q * SP + (VPI >= VT ? v0 * LANES : 0);
              halved_tile(dy + HALO + o, w + (long)c * C * 9, s + HALO + o);
            }
          for (int q = 0; q < here; q++) {
            for (int p = 0; p < PP; p += LANES) {
              V v = {0};
              for (int k = 0; k < C; k++)
                v += f[6][k * CI + c] * at(g + ((long)(n + q) * C + k) * PP + p);
              put(row + p, v * (REAL)0.25);
            }
            REAL *out = dx + ((long)(n + q) * CI + c) * PI;
            R xc = xn + ((long)q * CI + c) * PI;
            for (int odd = 0; odd < 2; odd++) {
              R s0 = s + HALO + ((long)(odd * 3) * GB + q) * SP, s1 = s0 + (long)GB * SP,
                s2 = s1 + (long)GB * SP;
              for (int i = 0; i < H; i++)
                for (int j = 0; j < W; j++) {
                  int o = i * W + j, e = (2 * i + odd) * WI + 2 * j;
                  out[e] = row[o] + (xc[e] <= 0 ? 0 : s1[o]);
                  out[e + 1] = row[o] + (xc[e + 1] <= 0 ? 0 : s2[o] + (j < W - 1 ? s0[o + 1] : 0));
                }
            }
          }
        }
    }
  }
}

long plane(void) { return PP; }
long input_plane(void) { return PI; }

/* ---- bare convolutions, to be timed: N images, inputs C -> K of kind 3x3 and 1x1 */
#define K_ KS(0)
void bare_forward(int N, R x, R w3, R w1, REAL *y, int with3, int with1, double *m, double *v) {
  FRESH(xs, 3L * C * G * SP);
  for (int n = 0; n < N; n += G) {
    for (int g = 0; g < G; g++)
      for (int c = 0; c < C; c++)
        shifted(x + ((long)(n + g) * C + c) * PP, xs + HALO + ((long)c * G + g) * SP,
                (long)C * G * SP, 1);
    REAL *yn = y + (long)n * 2 * K_ * PP;
    if (with3) convolve(xs + HALO, w3, C, K_, 9, 1, G, yn, 2L * K_ * PP);
    if (with1) convolve(xs + HALO, w1, C, K_, 1, 1, G, yn + (long)K_ * PP, 2L * K_ * PP);
    if (m)
      for (int g = 0; g < G; g++)
        for (int k = with3 ? 0 : K_; k < (with1 ? 2 * K_ : K_); k++)
          moments(yn + ((long)g * 2 * K_ + k) * PP, (long)(n + g) * P, m + k, v + k);
  }
}
void bare_input(int N, R g, R w3, R w1, REAL *dx) {
  FRESH(dy, 2L * K_ * GB * SP);
  FRESH(s, 3L * C * GB * SP);
  for (int n = 0; n < N; n += GB) {
    int here = N - n < GB ? N - n : GB;
    for (int b = 0; b < here; b++)
      for (int k = 0; k < 2 * K_; k++)
        memcpy(dy + HALO + ((long)k * GB + b) * SP, g + ((long)(n + b) * 2 * K_ + k) * PP,
               PP * sizeof(REAL));
    input_gradient(dy + HALO, w3, w1, K_, K_, here, s + HALO);
    for (int b = 0; b < here; b++)
      for (int c = 0; c < C; c++) {
        R sc = s + HALO + ((long)c * 3 * GB + b) * SP;
        for (int p = 0; p < PP; p += LANES)
          put(dx + ((long)(n + b) * C + c) * PP + p,
              kept(at(sc + p - 1), *(M *)(left + p)) + at(sc + (long)GB * SP + p) +
                  kept(at(sc + 2L * GB * SP + p + 1), *(M *)(right + p)));
      }
  }
}
void bare_weight(int N, R x, R g, REAL *d3, REAL *d1) {
  FRESH(dy, 2L * K_ * GB * SP);
  FRESH(xs, 3L * C * GB * SP);
  for (int n = 0; n < N; n += GB) {
    int here = N - n < GB ? N - n : GB;
    for (int b = 0; b < here; b++) {
      for (int k = 0; k < 2 * K_; k++)
        memcpy(dy + HALO + ((long)k * GB + b) * SP, g + ((long)(n + b) * 2 * K_ + k) * PP,
               PP * sizeof(REAL));
      for (int c = 0; c < C; c++)
        shifted(x + ((long)(n + b) * C + c) * PP, xs + HALO + ((long)c * GB + b) * SP,
                (long)C * GB * SP, 1);
    }
    weight_gradient(dy + HALO, xs + HALO, C, K_, 9, 1, here, d3);
    weight_gradient(dy + HALO + (long)K_ * GB * SP, xs + HALO, C, K_, 1, 1, here, d1);
  }
}

/* n times 12 fused multiply-adds of vectors that wait for nothing: the processor's peak. */
REAL peak(long n) {
  V a[12] = {0}, b = at(share);
  for (long i = 0; i < n; i++) UNROLL
  for (int k = 0; k < 12; k++) {
    a[k] = a[k] * b + b;
    __asm__("" : "+v"(a[k]));
  }
  V s = {0};
  UNROLL
  for (int k = 0; k < 12; k++) s += a[k];
  return total(s);
}
