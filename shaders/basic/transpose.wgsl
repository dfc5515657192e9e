// y[b, j, i] = x[b, i, j]. Strides count groups of four.
#import bits
#storage x
#storage y
struct Params { rows: u32, columns: u32, row_groups: u32, column_groups: u32, x0: u32, x1: u32, y0: u32, y1: u32 }
@group(0) @binding(0) var<uniform> p: Params;

// An invocation turns four by four elements, a workgroup 32 by 32. The gradient is the same with rows and columns exchanged.
@compute @workgroup_size(64)
fn turn(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    let q = at.x * 8u + (lane & 7u);
    let g = at.z * 8u + (lane >> 3u);
    if q >= p.row_groups || g >= p.column_groups { return; }
    let i = q * 4u;
    let last = p.rows - 1u;
    let base = at.y * p.x0 + g;
    let m = transpose(mat4x4<f32>(x_ld4(base + i * p.x1), x_ld4(base + min(i + 1u, last) * p.x1),
        x_ld4(base + min(i + 2u, last) * p.x1), x_ld4(base + min(i + 3u, last) * p.x1)));
    let keep = lanes(q, p.rows);
    let to = at.y * p.y0 + q;
    y_st4(to + g * 4u * p.y1, m[0] * keep);
    if g * 4u + 1u < p.columns { y_st4(to + (g * 4u + 1u) * p.y1, m[1] * keep); }
    if g * 4u + 2u < p.columns { y_st4(to + (g * 4u + 2u) * p.y1, m[2] * keep); }
    if g * 4u + 3u < p.columns { y_st4(to + (g * 4u + 3u) * p.y1, m[3] * keep); }
}
