// Sums over some axes of a strided view. k: extents of the axes that stay, s: their strides; r, t: those of the axes that are summed.
// Strides count groups of four. With `inner` the innermost axis is summed too, and the four lanes of an output group are four places
// along the axis with `lane_stride`.
#import bits
#storage x
#storage y
#storage dy
#storage dx
struct Params {
    k0: u32, k1: u32, k2: u32, k3: u32, s0: u32, s1: u32, s2: u32, s3: u32,
    r0: u32, r1: u32, r2: u32, r3: u32, t0: u32, t1: u32, t2: u32, t3: u32,
    lane_stride: u32, groups: u32, width: u32, block: u32, inner: u32, scale: f32,
}
@group(0) @binding(0) var<uniform> p: Params;

struct Place { i1: u32, i2: u32, i3: u32, g: u32 }
fn place(flat: u32) -> Place {
    let row = flat / p.groups;
    let rest = row / p.k3;
    return Place(rest / p.k2, rest % p.k2, row % p.k3, flat % p.groups);
}

// The sum over one block of the first summed axis and all of the others, in order.
fn block_sum(base: u32, block: u32) -> vec4<f32> {
    var sum = vec4<f32>(0.0);
    let first = block * p.block;
    for (var j0 = first; j0 < min(first + p.block, p.r0); j0++) {
        for (var j1 = 0u; j1 < p.r1; j1++) {
            for (var j2 = 0u; j2 < p.r2; j2++) {
                for (var j3 = 0u; j3 < p.r3; j3++) { sum = sum + x_ld4(base + j0 * p.t0 + j1 * p.t1 + j2 * p.t2 + j3 * p.t3); }
            }
        }
    }
    return sum;
}
fn lane_sum(base: u32, e: u32, block: u32) -> f32 {
    if e >= p.width { return 0.0; }
    let v = block_sum(base + e * p.lane_stride, block);
    return (v.x + v.y) + (v.z + v.w);
}

@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    let q = place(at.x * 64u + lane);
    if q.i1 >= p.k1 { return; }
    let base = at.y * p.s0 + q.i1 * p.s1 + q.i2 * p.s2 + q.i3 * p.s3;
    var v: vec4<f32>;
    if p.inner == 1u {
        let e = q.g * 4u;
        v = vec4<f32>(lane_sum(base, e, at.z), lane_sum(base, e + 1u, at.z), lane_sum(base, e + 2u, at.z), lane_sum(base, e + 3u, at.z));
    } else {
        v = block_sum(base + q.g, at.z);
    }
    let row = (at.z * p.k0 + at.y) * p.k1 * p.k2 * p.k3 + (q.i1 * p.k2 + q.i2) * p.k3 + q.i3;
    y_st4(row * p.groups + q.g, v * p.scale * lanes(q.g, p.width));
}

// dx = scale * dy, repeated along the summed axes. Here k and s describe dx, and t counts elements of dy, 0 along summed axes.
@compute @workgroup_size(64)
fn backward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    let q = place(at.x * 64u + lane);
    if q.i1 >= p.k1 { return; }
    let first = at.y * p.t0 + q.i1 * p.t1 + q.i2 * p.t2 + q.i3 * p.t3;
    var v: vec4<f32>;
    if p.inner == 1u { v = vec4<f32>(dy_ld(first)); } else { v = dy_ld4(first / 4u + q.g); }
    dx_st4(at.y * p.s0 + q.i1 * p.s1 + q.i2 * p.s2 + q.i3 * p.s3 + q.g, v * p.scale * lanes(q.g, p.width));
}
