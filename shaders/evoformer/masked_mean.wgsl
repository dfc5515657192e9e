// y[a] = weight[a] sum_n mask[a, n] x[a, n],  weight[a] = 1 / (sum_n mask[a, n] + 1e-10).  Strides count groups of four, the mask's elements.
#storage x
#storage mask
#storage weight
#storage part
#storage y
#storage dy
#storage dx
struct Params { n_a: u32, n: u32, groups: u32, block: u32, blocks: u32, x0: u32, x1: u32, m0: u32 }
@group(0) @binding(0) var<uniform> p: Params;

// weight: one invocation four rows. The mask is zero in its padding.
@compute @workgroup_size(16)
fn weights(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let g = grid(wg).x * 16u + lane;
    if g * 4u >= p.n_a { return; }
    var w = vec4<f32>(0.0);
    for (var e = 0u; e < min(4u, p.n_a - g * 4u); e++) {
        var sum = vec4<f32>(0.0);
        for (var q = 0u; q * 4u < p.n; q++) { sum += mask_ld4((g * 4u + e) * p.m0 / 4u + q); }
        w[e] = 1.0 / ((sum.x + sum.y) + (sum.z + sum.w) + 1e-10);
    }
    weight_st4(g, w);
}

// part[block, a] = sum over one block of n of mask x, in order.
@compute @workgroup_size(16)
fn partial(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    let g = at.x * 16u + lane;
    if g >= p.groups { return; }
    let first = at.z * p.block;
    var sum = vec4<f32>(0.0);
    for (var i = first; i < min(first + p.block, p.n); i++) { sum += mask_ld(at.y * p.m0 + i) * x_ld4(at.y * p.x0 + i * p.x1 + g); }
    part_st4((at.z * p.n_a + at.y) * p.groups + g, sum);
}

@compute @workgroup_size(16)
fn finish(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    let g = at.x * 16u + lane;
    if g >= p.groups { return; }
    var sum = vec4<f32>(0.0);
    for (var b = 0u; b < p.blocks; b++) { sum += part_ld4((b * p.n_a + at.y) * p.groups + g); }
    // x is zero in the padding, and so is y.
    y_st4(at.y * p.groups + g, sum * weight_ld(at.y));
}

// dx[a, n] = weight[a] mask[a, n] dy[a]
@compute @workgroup_size(16)
fn backward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    let g = at.x * 16u + lane;
    if g >= p.groups { return; }
    let d = dy_ld4(at.y * p.groups + g) * weight_ld(at.y);
    let first = at.z * p.block;
    for (var i = first; i < min(first + p.block, p.n); i++) { dx_st4(at.y * p.x0 + i * p.x1 + g, mask_ld(at.y * p.m0 + i) * d); }
}
