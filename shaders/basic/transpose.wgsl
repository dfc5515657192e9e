// y[b, j, i] = x[b, i, j], or mask[b, i] x[b, i, j] sigmoid(gate[b, i, j]). Strides count groups of four, the mask's elements.
#import bits
#import gate
#storage x
#storage gate
#storage mask
#storage y
struct Params {
    rows: u32, columns: u32, row_groups: u32, column_groups: u32,
    x0: u32, x1: u32, g0: u32, g1: u32, m0: u32, m1: u32, y0: u32, y1: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
override GATED: bool = false;

// The group `g` of a row, the last one in place of those beyond it.
fn value(batch: u32, row: u32, g: u32) -> vec4<f32> {
    let i = min(row, p.rows - 1u);
    let v = x_ld4(batch * p.x0 + i * p.x1 + g);
    if GATED { return under_gate(v, mask_ld(batch * p.m0 + i * p.m1), gate_ld4(batch * p.g0 + i * p.g1 + g)); }
    return v;
}

// An invocation turns four by four elements, a workgroup 32 by 32. The gradient is the same with rows and columns exchanged.
@compute @workgroup_size(64)
fn turn(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    let q = at.x * 8u + (lane & 7u);
    let g = at.z * 8u + (lane >> 3u);
    if q >= p.row_groups || g >= p.column_groups { return; }
    let i = q * 4u;
    let m = transpose(mat4x4<f32>(value(at.y, i, g), value(at.y, i + 1u, g), value(at.y, i + 2u, g), value(at.y, i + 3u, g)));
    let keep = lanes(q, p.rows);
    let to = at.y * p.y0 + q;
    y_st4(to + g * 4u * p.y1, m[0] * keep);
    if g * 4u + 1u < p.columns { y_st4(to + (g * 4u + 1u) * p.y1, m[1] * keep); }
    if g * 4u + 2u < p.columns { y_st4(to + (g * 4u + 2u) * p.y1, m[2] * keep); }
    if g * 4u + 3u < p.columns { y_st4(to + (g * 4u + 3u) * p.y1, m[3] * keep); }
}
