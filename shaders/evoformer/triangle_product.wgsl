// y[i, j, c] = sum_k a[i, k, c] b[j, k, c]: the sum of Algorithms 11 and 12 and, with other views, of their gradients. Strides count
// groups of four channels. Padding is zero in a and b, and so in y.
#storage a
#storage b
#storage y
struct Params {
    n_i: u32, n_j: u32, n_k: u32, groups: u32,
    a0: u32, a1: u32, b0: u32, b1: u32, y0: u32, y1: u32,
    chain: u32,
}
@group(0) @binding(0) var<uniform> p: Params;

fn held(i: u32, j: u32, g: u32) -> vec4<f32> {
    if p.chain == 0u || i >= p.n_i || j >= p.n_j { return vec4<f32>(0.0); }
    return y_ld4(i * p.y0 + j * p.y1 + g);
}
fn store(i: u32, j: u32, g: u32, v: vec4<f32>) {
    if i < p.n_i && j < p.n_j { y_st4(i * p.y0 + j * p.y1 + g, v); }
}

// An invocation owns four channels of 4 x 4 pairs; eight neighbours read eight groups of a row, 2 x 4 tiles share rows in the cache.
// The sum goes on from what is stored when `chain` is set, in the order of k.
@compute @workgroup_size(64)
fn product(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    let g = at.z * 8u + (lane & 7u);
    let i = at.x * 8u + (lane >> 5u) * 4u;
    let j = at.y * 16u + ((lane >> 3u) & 3u) * 4u;
    if g >= p.groups || i >= p.n_i || j >= p.n_j { return; }
    let ia = i * p.a0 + g;
    let ib = min(i + 1u, p.n_i - 1u) * p.a0 + g;
    let ic = min(i + 2u, p.n_i - 1u) * p.a0 + g;
    let id = min(i + 3u, p.n_i - 1u) * p.a0 + g;
    let ja = j * p.b0 + g;
    let jb = min(j + 1u, p.n_j - 1u) * p.b0 + g;
    let jc = min(j + 2u, p.n_j - 1u) * p.b0 + g;
    let jd = min(j + 3u, p.n_j - 1u) * p.b0 + g;
    var c00 = held(i, j, g);
    var c01 = held(i, j + 1u, g);
    var c02 = held(i, j + 2u, g);
    var c03 = held(i, j + 3u, g);
    var c10 = held(i + 1u, j, g);
    var c11 = held(i + 1u, j + 1u, g);
    var c12 = held(i + 1u, j + 2u, g);
    var c13 = held(i + 1u, j + 3u, g);
    var c20 = held(i + 2u, j, g);
    var c21 = held(i + 2u, j + 1u, g);
    var c22 = held(i + 2u, j + 2u, g);
    var c23 = held(i + 2u, j + 3u, g);
    var c30 = held(i + 3u, j, g);
    var c31 = held(i + 3u, j + 1u, g);
    var c32 = held(i + 3u, j + 2u, g);
    var c33 = held(i + 3u, j + 3u, g);
    for (var k = 0u; k < p.n_k; k++) {
        let ka = k * p.a1;
        let kb = k * p.b1;
        let a0 = a_ld4(ia + ka);
        let a1 = a_ld4(ib + ka);
        let a2 = a_ld4(ic + ka);
        let a3 = a_ld4(id + ka);
        let b0 = b_ld4(ja + kb);
        let b1 = b_ld4(jb + kb);
        let b2 = b_ld4(jc + kb);
        let b3 = b_ld4(jd + kb);
        c00 += a0 * b0; c01 += a0 * b1; c02 += a0 * b2; c03 += a0 * b3;
        c10 += a1 * b0; c11 += a1 * b1; c12 += a1 * b2; c13 += a1 * b3;
        c20 += a2 * b0; c21 += a2 * b1; c22 += a2 * b2; c23 += a2 * b3;
        c30 += a3 * b0; c31 += a3 * b1; c32 += a3 * b2; c33 += a3 * b3;
    }
    store(i, j, g, c00); store(i, j + 1u, g, c01); store(i, j + 2u, g, c02); store(i, j + 3u, g, c03);
    store(i + 1u, j, g, c10); store(i + 1u, j + 1u, g, c11); store(i + 1u, j + 2u, g, c12); store(i + 1u, j + 3u, g, c13);
    store(i + 2u, j, g, c20); store(i + 2u, j + 1u, g, c21); store(i + 2u, j + 2u, g, c22); store(i + 2u, j + 3u, g, c23);
    store(i + 3u, j, g, c30); store(i + 3u, j + 1u, g, c31); store(i + 3u, j + 2u, g, c32); store(i + 3u, j + 3u, g, c33);
}
