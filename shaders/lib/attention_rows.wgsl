// What the kernels of the backward pass of `evoformer/attention` share.
struct Params {
    n_b: u32, n_q: u32, n_k: u32, heads: u32, shift: u32, scale: f32, ag: u32, chain: u32, rows: u32,
    qb: u32, ql: u32, qh: u32, kb: u32, kl: u32, kh: u32, vb: u32, vl: u32, vh: u32, gb: u32, gl: u32, gh: u32,
    xb: u32, xl: u32, xh: u32, wb: u32, wl: u32, wh: u32, xt: u32, wt: u32,
    mb: u32, mk: u32,
    first: u32, run: u32, biases: u32, bh: u32, bt: u32, bq: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
// aux [b, 2 heads + 1, max(q, k)] holds for each head a row of lse and one of delta, and last the row of kept keys.
fn aux_row(b: u32, r: u32) -> u32 { return (b * (2u * p.heads + 1u) + r) * p.ag; }
// Row `r` of those that have bias `t`.
fn row_of(r: u32, t: u32) -> u32 { return (r / p.run * p.biases + t) * p.run + r % p.run; }
// dO is contiguous [b, q, heads, channels].
fn go_row(b: u32, i: u32, h: u32) -> u32 { return ((b * p.n_q + i) * p.heads + h) * VG; }
// Which of the keys j .. j+3 are there and not masked.
fn kept(b: u32, j: u32) -> vec4<bool> {
    let there = four_of(j) < vec4<u32>(p.n_k);
    if MASK { return there & (aux_ld4(aux_row(b, 2u * p.heads) + min(j >> 2u, groups(p.n_k) - 1u)) != vec4<f32>(0.0)); }
    return there;
}
