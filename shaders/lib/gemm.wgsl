// What the families of `basic/gemm` share: operands as two batch axes, rows and groups; and what follows the sum.
struct Params {
    m: u32, n: u32, k: u32, mg: u32, ng: u32, k_all: u32, n1: u32, n_tiles: u32,
    as0: u32, as1: u32, as2: u32, bs0: u32, bs1: u32, bs2: u32, cs0: u32, cs1: u32, cs2: u32, es0: u32, es1: u32, es2: u32,
    bias: u32, act: u32, tail: u32, extra: u32,
    // Statistics of A's rows and what is added to a variance; the mask of a dropout: see `gemm_norm` and `gemm_dropout`.
    ss0: u32, ss1: u32, ss2: u32,
    // Not zero: rows of A, stored [k, m], lie at two distances, so many of them at the second one; see `k_row`.
    fold: u32,
    eps: f32,
    threshold: u32, kept: f32, key_lo: u32, key_hi: u32, share: u32, run: u32, wide: u32, f0: u32, f1: u32, f2: u32, first: u32, g0: u32,
    // Columns that are written a second time: see `turn`.
    heads: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
// A is stored [k, m]; B is stored [n, k]; the sum goes on from what C holds.
override TA: bool = false;
override TB: bool = false;
override CHAIN: bool = false;
// The columns of B are summed, too, by the first tiles of rows; the sums lie where `extra` is bound.
override SUMS: bool = false;

// Activations: 0 none, 1 ReLU, 2 sigmoid.
fn activate(v: vec4<f32>) -> vec4<f32> {
    if p.act == 1u { return max(v, vec4<f32>(0.0)); }
    if p.act == 2u { return 1.0 / (1.0 + exp(-v)); }
    return v;
}
// act(sum + bias); bias and activation hold from group `tail` on.
fn activated(g: u32, sum: vec4<f32>) -> vec4<f32> {
    if g < p.tail { return sum; }
    if p.bias == 1u { return activate(sum + bias_ld4(g - p.tail)); }
    return activate(sum);
}
// Where a group of C lies, and of `extra`.
fn c_place(batch: vec2<u32>, row: u32, g: u32) -> u32 { return batch.x * p.cs0 + batch.y * p.cs1 + row * p.cs2 + g; }
fn extra_place(batch: vec2<u32>, row: u32) -> u32 { return batch.x * p.es0 + batch.y * p.es1 + row * p.es2; }
// What the sum of a group of C begins with.
fn begin(batch: vec2<u32>, row: u32, g: u32) -> vec4<f32> {
    if CHAIN && row < p.m && g < p.ng { return c_ld4(c_place(batch, row, g)); }
    return vec4<f32>(0.0);
}
// Where row `i` of k lies in part `part` of a split sum, behind the part's base, for rows at the distances s1 and s2.
fn k_row(part: u32, i: u32, s1: u32, s2: u32) -> u32 {
    if p.fold == 0u { return i * s2; }
    let at = part * p.k + i;
    return at / p.fold * s1 + at % p.fold * s2;
}
// Group of A at row `m` and group `q` of k, or, when A is stored [k, m], at row `k` and group `q` of m; rows beyond the sum are zero.
fn a_at(part: u32, base: u32, i: u32, q: u32, k_end: u32) -> vec4<f32> {
    if TA {
        let v = a_ld4(base + k_row(part, min(i, k_end - 1u), p.as1, p.as2) + min(q, p.mg - 1u));
        return select(vec4<f32>(0.0), v, i < k_end);
    }
    return a_ld4(base + min(i, p.m - 1u) * p.as2 + q);
}
// Group of B at row `k` and group `q` of n, or, when B is stored [n, k], at row `n` and group `q` of k. Rows beyond the sum repeat the
// last one: A is zero there.
fn b_at(base: u32, i: u32, q: u32, k_end: u32) -> vec4<f32> {
    if TB { return b_ld4(base + min(i, p.n - 1u) * p.bs2 + q); }
    return b_ld4(base + min(i, k_end - 1u) * p.bs2 + min(q, p.ng - 1u));
}
// What the sum of a group of columns of B begins with, and where it goes.
fn begin_sums(batch: vec2<u32>, g: u32) -> vec4<f32> {
    if CHAIN && g < p.ng { return extra_ld4(batch.x * p.es0 + g); }
    return vec4<f32>(0.0);
}
fn finish_sums(batch: vec2<u32>, g: u32, sum: vec4<f32>) {
    if g < p.ng { extra_st4(batch.x * p.es0 + g, sum * lanes(g, p.n)); }
}
// The first columns lie a second time where `extra` is bound, with columns outermost: four rows of a column are neighbours there.
override TURN: bool = false;
fn turn(batch: vec2<u32>, row: u32, g: u32, rows: mat4x4<f32>) {
    if row >= p.m || g * 4u >= p.heads { return; }
    let columns = transpose(mat4x4<f32>(activated(g, rows[0]), activated(g, rows[1]), activated(g, rows[2]), activated(g, rows[3])));
    let to = batch.x * p.es0 + batch.y * p.es1 + (row >> 2u) + g * 4u * p.es2;
#repeat e 4
    if g * 4u + $eu < p.heads { extra_st4(to + $eu * p.es2, columns[$e]); }
#end
}
