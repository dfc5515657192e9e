// Outer product mean, Algorithm 10: three products of matrices, the norm of each pair, and what goes with them. Rows of matrices are
// `a_row`, `b_row`, `c_row` groups of four apart; innermost axes are padded with zeros.
#import bits
#storage a
#storage b
#storage c
#storage mask
#storage norm
#storage bias
#storage x
#storage y
struct Params {
    m: u32, n: u32, k: u32, ng: u32, kg: u32, a_row: u32, b_row: u32, c_row: u32,
    chain: u32, last: u32, with_bias: u32,
}
@group(0) @binding(0) var<uniform> p: Params;

struct Place { row: u32, r1: u32, r2: u32, r3: u32, g: u32, h: u32 }
fn place(wg: vec3<u32>, id: vec3<u32>) -> Place {
    let at = grid(wg);
    let row = (at.x * 8u + id.y) * 4u;
    let g = (at.y * 8u + id.x) * 2u;
    let most = p.m - 1u;
    return Place(row, min(row + 1u, most), min(row + 2u, most), min(row + 3u, most), g, min(g + 1u, p.ng - 1u));
}
fn held(row: u32, g: u32) -> vec4<f32> {
    if p.chain == 0u || row >= p.m || g >= p.ng { return vec4<f32>(0.0); }
    return c_ld4(row * p.c_row + g);
}
fn store(row: u32, g: u32, v: vec4<f32>) {
    if row < p.m && g < p.ng { c_st4(row * p.c_row + g, v * lanes(g, p.n)); }
}
fn row_of(v: vec4<f32>, b0: vec4<f32>, b1: vec4<f32>, b2: vec4<f32>, b3: vec4<f32>) -> vec4<f32> {
    return v.x * b0 + v.y * b1 + v.z * b2 + v.w * b3;
}

// c[m, n] = sum_k a[m, k] b[k, n]; with `chain` the sum goes on from what is stored. Four rows by eight columns an invocation.
@compute @workgroup_size(8, 8)
fn product_nn(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_id) id: vec3<u32>) {
    let t = place(wg, id);
    if t.row >= p.m || t.g >= p.ng { return; }
    var c00 = held(t.row, t.g); var c01 = held(t.row, t.g + 1u);
    var c10 = held(t.row + 1u, t.g); var c11 = held(t.row + 1u, t.g + 1u);
    var c20 = held(t.row + 2u, t.g); var c21 = held(t.row + 2u, t.g + 1u);
    var c30 = held(t.row + 3u, t.g); var c31 = held(t.row + 3u, t.g + 1u);
    for (var q = 0u; q < p.kg; q++) {
        let a0 = a_ld4(t.row * p.a_row + q);
        let a1 = a_ld4(t.r1 * p.a_row + q);
        let a2 = a_ld4(t.r2 * p.a_row + q);
        let a3 = a_ld4(t.r3 * p.a_row + q);
        let k0 = q * 4u * p.b_row;
        let k1 = min(q * 4u + 1u, p.k - 1u) * p.b_row;
        let k2 = min(q * 4u + 2u, p.k - 1u) * p.b_row;
        let k3 = min(q * 4u + 3u, p.k - 1u) * p.b_row;
        let b00 = b_ld4(k0 + t.g); let b01 = b_ld4(k0 + t.h);
        let b10 = b_ld4(k1 + t.g); let b11 = b_ld4(k1 + t.h);
        let b20 = b_ld4(k2 + t.g); let b21 = b_ld4(k2 + t.h);
        let b30 = b_ld4(k3 + t.g); let b31 = b_ld4(k3 + t.h);
        c00 += row_of(a0, b00, b10, b20, b30); c01 += row_of(a0, b01, b11, b21, b31);
        c10 += row_of(a1, b00, b10, b20, b30); c11 += row_of(a1, b01, b11, b21, b31);
        c20 += row_of(a2, b00, b10, b20, b30); c21 += row_of(a2, b01, b11, b21, b31);
        c30 += row_of(a3, b00, b10, b20, b30); c31 += row_of(a3, b01, b11, b21, b31);
    }
    store(t.row, t.g, c00); store(t.row, t.g + 1u, c01);
    store(t.row + 1u, t.g, c10); store(t.row + 1u, t.g + 1u, c11);
    store(t.row + 2u, t.g, c20); store(t.row + 2u, t.g + 1u, c21);
    store(t.row + 3u, t.g, c30); store(t.row + 3u, t.g + 1u, c31);
}

// c[m, n] = sum_k a[k, m] b[k, n], likewise.
@compute @workgroup_size(8, 8)
fn product_tn(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_id) id: vec3<u32>) {
    let t = place(wg, id);
    if t.row >= p.m || t.g >= p.ng { return; }
    var c00 = held(t.row, t.g); var c01 = held(t.row, t.g + 1u);
    var c10 = held(t.row + 1u, t.g); var c11 = held(t.row + 1u, t.g + 1u);
    var c20 = held(t.row + 2u, t.g); var c21 = held(t.row + 2u, t.g + 1u);
    var c30 = held(t.row + 3u, t.g); var c31 = held(t.row + 3u, t.g + 1u);
    for (var k = 0u; k < p.k; k++) {
        let v = a_ld4(k * p.a_row + t.row / 4u);
        let b0 = b_ld4(k * p.b_row + t.g);
        let b1 = b_ld4(k * p.b_row + t.h);
        c00 += v.x * b0; c01 += v.x * b1;
        c10 += v.y * b0; c11 += v.y * b1;
        c20 += v.z * b0; c21 += v.z * b1;
        c30 += v.w * b0; c31 += v.w * b1;
    }
    store(t.row, t.g, c00); store(t.row, t.g + 1u, c01);
    store(t.row + 1u, t.g, c10); store(t.row + 1u, t.g + 1u, c11);
    store(t.row + 2u, t.g, c20); store(t.row + 2u, t.g + 1u, c21);
    store(t.row + 3u, t.g, c30); store(t.row + 3u, t.g + 1u, c31);
}

fn dots(v: vec4<f32>, b0: vec4<f32>, b1: vec4<f32>, b2: vec4<f32>, b3: vec4<f32>) -> vec4<f32> {
    return vec4<f32>(dot(v, b0), dot(v, b1), dot(v, b2), dot(v, b3));
}

// c[m, n] = sum_k a[m, k] b[n, k], likewise; four rows by four columns an invocation.
@compute @workgroup_size(8, 8)
fn product_nt(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_id) id: vec3<u32>) {
    let t = place(wg, id);
    let g = grid(wg).y * 8u + id.x;
    if t.row >= p.m || g >= p.ng { return; }
    var c0 = held(t.row, g);
    var c1 = held(t.row + 1u, g);
    var c2 = held(t.row + 2u, g);
    var c3 = held(t.row + 3u, g);
    let n0 = g * 4u * p.b_row;
    let n1 = min(g * 4u + 1u, p.n - 1u) * p.b_row;
    let n2 = min(g * 4u + 2u, p.n - 1u) * p.b_row;
    let n3 = min(g * 4u + 3u, p.n - 1u) * p.b_row;
    for (var q = 0u; q < p.kg; q++) {
        let b0 = b_ld4(n0 + q);
        let b1 = b_ld4(n1 + q);
        let b2 = b_ld4(n2 + q);
        let b3 = b_ld4(n3 + q);
        c0 += dots(a_ld4(t.row * p.a_row + q), b0, b1, b2, b3);
        c1 += dots(a_ld4(t.r1 * p.a_row + q), b0, b1, b2, b3);
        c2 += dots(a_ld4(t.r2 * p.a_row + q), b0, b1, b2, b3);
        c3 += dots(a_ld4(t.r3 * p.a_row + q), b0, b1, b2, b3);
    }
    store(t.row, g, c0);
    store(t.row + 1u, g, c1);
    store(t.row + 2u, g, c2);
    store(t.row + 3u, g, c3);
}

// norm[i, j] = 1 / (1e-3 + sum_s mask[s, i] mask[s, j]); m counts residues, k sequences, rows of the mask are a_row apart.
@compute @workgroup_size(64)
fn pairs(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    let g = at.x * 64u + lane;
    if g >= p.ng { return; }
    let place = at.y * p.ng + g;
    var sum = vec4<f32>(0.0);
    if p.chain == 1u { sum = norm_ld4(place); }
    for (var s = 0u; s < p.k; s++) { sum += mask_ld(s * p.a_row * 4u + at.y) * mask_ld4(s * p.a_row + g); }
    if p.last == 1u { sum = lanes(g, p.n) / (sum + 1e-3); }
    norm_st4(place, sum);
}

// y[i, j, f] = (x[i, j, f] + bias[f]) norm[i, j]; m counts j, rows of the norm are a_row apart. Its gradient is the same without bias.
@compute @workgroup_size(64)
fn scaled(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    let flat = at.x * 64u + lane;
    let j = flat / p.ng;
    if j >= p.m { return; }
    let g = flat % p.ng;
    let i = at.y * p.m + j;
    var v = x_ld4(i * p.ng + g);
    if p.with_bias == 1u { v += bias_ld4(g); }
    y_st4(i * p.ng + g, v * norm_ld(at.y * p.a_row * 4u + j));
}

// y[i, f] (+)= sum_j x[i, j, f]; m counts j. Twice applied it gives the gradient of the bias.
@compute @workgroup_size(64)
fn summed(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    let g = at.x * 64u + lane;
    if g >= p.ng { return; }
    let place = at.y * p.ng + g;
    var sum = vec4<f32>(0.0);
    if p.chain == 1u { sum = y_ld4(place); }
    for (var j = 0u; j < p.m; j++) { sum += x_ld4((at.y * p.m + j) * p.ng + g); }
    y_st4(place, sum);
}
