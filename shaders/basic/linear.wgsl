// y = act(x w + b): register tiles without workgroup memory. Contraction axes are padded with zeros, so that whole groups are multiplied.
#import bits
#storage x
#storage w
#storage b
#storage y
#storage dy
#storage dx
#storage part
#storage dw
#storage db
struct Params { m: u32, k: u32, n: u32, kg: u32, ng: u32, act: u32, bias: u32, block: u32, blocks: u32, chain: u32 }
@group(0) @binding(0) var<uniform> p: Params;

// Activations: 0 none, 1 ReLU, 2 sigmoid.
fn activate(v: vec4<f32>) -> vec4<f32> {
    if p.act == 1u { return max(v, vec4<f32>(0.0)); }
    if p.act == 2u { return 1.0 / (1.0 + exp(-v)); }
    return v;
}
// dy through the activation, from the output: ReLU passes where y > 0, sigmoid has y (1 - y).
fn through(d: vec4<f32>, i: u32) -> vec4<f32> {
    if p.act == 1u { return select(vec4<f32>(0.0), d, y_ld4(i) > vec4<f32>(0.0)); }
    if p.act == 2u { let v = y_ld4(i); return d * v * (1.0 - v); }
    return d;
}
fn row_of(a: vec4<f32>, b0: vec4<f32>, b1: vec4<f32>, b2: vec4<f32>, b3: vec4<f32>) -> vec4<f32> {
    return a.x * b0 + a.y * b1 + a.z * b2 + a.w * b3;
}

// Four rows by eight columns an invocation; workgroups of 8 x 8 cover 32 rows by 64 columns.
@compute @workgroup_size(8, 8)
fn forward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_id) id: vec3<u32>) {
    let at = grid(wg);
    let row = (at.x * 8u + id.y) * 4u;
    let g = (at.y * 8u + id.x) * 2u;
    if row >= p.m || g >= p.ng { return; }
    let r1 = min(row + 1u, p.m - 1u);
    let r2 = min(row + 2u, p.m - 1u);
    let r3 = min(row + 3u, p.m - 1u);
    let h = min(g + 1u, p.ng - 1u);
    var c00 = vec4<f32>(0.0); var c01 = vec4<f32>(0.0);
    var c10 = vec4<f32>(0.0); var c11 = vec4<f32>(0.0);
    var c20 = vec4<f32>(0.0); var c21 = vec4<f32>(0.0);
    var c30 = vec4<f32>(0.0); var c31 = vec4<f32>(0.0);
    for (var q = 0u; q < p.kg; q++) {
        let a0 = x_ld4(row * p.kg + q);
        let a1 = x_ld4(r1 * p.kg + q);
        let a2 = x_ld4(r2 * p.kg + q);
        let a3 = x_ld4(r3 * p.kg + q);
        let k0 = q * 4u;
        let k1 = min(k0 + 1u, p.k - 1u);
        let k2 = min(k0 + 2u, p.k - 1u);
        let k3 = min(k0 + 3u, p.k - 1u);
        let b00 = w_ld4(k0 * p.ng + g); let b01 = w_ld4(k0 * p.ng + h);
        let b10 = w_ld4(k1 * p.ng + g); let b11 = w_ld4(k1 * p.ng + h);
        let b20 = w_ld4(k2 * p.ng + g); let b21 = w_ld4(k2 * p.ng + h);
        let b30 = w_ld4(k3 * p.ng + g); let b31 = w_ld4(k3 * p.ng + h);
        c00 += row_of(a0, b00, b10, b20, b30); c01 += row_of(a0, b01, b11, b21, b31);
        c10 += row_of(a1, b00, b10, b20, b30); c11 += row_of(a1, b01, b11, b21, b31);
        c20 += row_of(a2, b00, b10, b20, b30); c21 += row_of(a2, b01, b11, b21, b31);
        c30 += row_of(a3, b00, b10, b20, b30); c31 += row_of(a3, b01, b11, b21, b31);
    }
    store(row, g, c00, c01);
    if row + 1u < p.m { store(row + 1u, g, c10, c11); }
    if row + 2u < p.m { store(row + 2u, g, c20, c21); }
    if row + 3u < p.m { store(row + 3u, g, c30, c31); }
}
fn store(row: u32, g: u32, v0: vec4<f32>, v1: vec4<f32>) {
    var a = v0;
    var b = v1;
    if p.bias == 1u { a += b_ld4(g); b += b_ld4(min(g + 1u, p.ng - 1u)); }
    y_st4(row * p.ng + g, activate(a) * lanes(g, p.n));
    if g + 1u < p.ng { y_st4(row * p.ng + g + 1u, activate(b) * lanes(g + 1u, p.n)); }
}

// dx[m, k] = sum_n da[m, n] w[k, n],  da = dy act'
@compute @workgroup_size(8, 8)
fn backward_x(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_id) id: vec3<u32>) {
    let at = grid(wg);
    let row = (at.x * 8u + id.y) * 2u;
    let g = at.y * 8u + id.x;
    if row >= p.m || g >= p.kg { return; }
    let r1 = min(row + 1u, p.m - 1u);
    let k0 = g * 4u;
    let k1 = min(k0 + 1u, p.k - 1u);
    let k2 = min(k0 + 2u, p.k - 1u);
    let k3 = min(k0 + 3u, p.k - 1u);
    var c0 = vec4<f32>(0.0);
    var c1 = vec4<f32>(0.0);
    for (var q = 0u; q < p.ng; q++) {
        let a0 = through(dy_ld4(row * p.ng + q), row * p.ng + q);
        let a1 = through(dy_ld4(r1 * p.ng + q), r1 * p.ng + q);
        let b0 = w_ld4(k0 * p.ng + q);
        let b1 = w_ld4(k1 * p.ng + q);
        let b2 = w_ld4(k2 * p.ng + q);
        let b3 = w_ld4(k3 * p.ng + q);
        c0 += vec4<f32>(dot(a0, b0), dot(a0, b1), dot(a0, b2), dot(a0, b3));
        c1 += vec4<f32>(dot(a1, b0), dot(a1, b1), dot(a1, b2), dot(a1, b3));
    }
    dx_st4(row * p.kg + g, c0 * lanes(g, p.k));
    if row + 1u < p.m { dx_st4((row + 1u) * p.kg + g, c1 * lanes(g, p.k)); }
}

// part[s][k, n] = sum over the rows m of block s of x[m, k] da[m, n]; row kg*4 of a block holds the bias's sum of da.
// Blocks have a fixed logical size, so that the order of addition never changes; a launch with `chain` goes on from what is stored.
@compute @workgroup_size(8, 8)
fn backward_part(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_id) id: vec3<u32>) {
    let at = grid(wg);
    let q = at.y * 8u + id.y;
    let g = at.z * 8u + id.x;
    if q > p.kg || g >= p.ng { return; }
    let bias = q == p.kg;
    var c0 = vec4<f32>(0.0);
    var c1 = vec4<f32>(0.0);
    var c2 = vec4<f32>(0.0);
    var c3 = vec4<f32>(0.0);
    let base = (at.x * (p.kg * 4u + 4u) + q * 4u) * p.ng + g;
    if p.chain == 1u {
        c0 = part_ld4(base);
        c1 = part_ld4(base + p.ng);
        c2 = part_ld4(base + 2u * p.ng);
        c3 = part_ld4(base + 3u * p.ng);
    }
    let first = at.x * p.block;
    for (var m = first; m < min(first + p.block, p.m); m++) {
        let d = through(dy_ld4(m * p.ng + g), m * p.ng + g);
        var a = vec4<f32>(1.0, 0.0, 0.0, 0.0);
        if !bias { a = x_ld4(m * p.kg + q); }
        c0 += a.x * d;
        c1 += a.y * d;
        c2 += a.z * d;
        c3 += a.w * d;
    }
    part_st4(base, c0);
    part_st4(base + p.ng, c1);
    part_st4(base + 2u * p.ng, c2);
    part_st4(base + 3u * p.ng, c3);
}

// dw[k, n] = sum_s part[s][k, n] in order of s;  db[n] likewise from the last rows.
@compute @workgroup_size(64)
fn backward_w(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let flat = grid(wg).x * 64u + lane;
    let k = flat / p.ng;
    let g = flat % p.ng;
    if k >= p.k { return; }
    var sum = vec4<f32>(0.0);
    if p.chain == 1u { sum = dw_ld4(k * p.ng + g); }
    for (var s = 0u; s < p.blocks; s++) { sum += part_ld4((s * (p.kg * 4u + 4u) + k) * p.ng + g); }
    dw_st4(k * p.ng + g, sum * lanes(g, p.n));
}
@compute @workgroup_size(64)
fn backward_b(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let g = grid(wg).x * 64u + lane;
    if g >= p.ng { return; }
    var sum = vec4<f32>(0.0);
    if p.chain == 1u { sum = db_ld4(g); }
    for (var s = 0u; s < p.blocks; s++) { sum += part_ld4((s * (p.kg * 4u + 4u) + p.kg * 4u) * p.ng + g); }
    db_st4(g, sum * lanes(g, p.n));
}
