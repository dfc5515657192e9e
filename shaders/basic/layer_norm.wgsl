// Layer normalisation over the innermost axis (QUIRKS: epsilon inside the root, biased variance in two passes), for GPUs: eight rows a
// workgroup, sums through workgroup memory.
#import bits
#storage x
#storage scale
#storage offset
#storage y
#storage stats
#storage dy
#storage dx
#storage part
#import layer_norm
var<workgroup> held: array<f32, 64>;

// The sum over the eight invocations of a row, in the same order for all of them.
fn sum8(lane: u32, v: f32) -> f32 {
    workgroupBarrier();
    held[lane] = v;
    workgroupBarrier();
    let first = lane & 56u;
    return ((held[first] + held[first + 1u]) + (held[first + 2u] + held[first + 3u]))
        + ((held[first + 4u] + held[first + 5u]) + (held[first + 6u] + held[first + 7u]));
}

@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    normalise(grid(wg).x * 8u + (lane >> 3u), lane & 7u, lane);
}

@compute @workgroup_size(64)
fn backward(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    gradient(grid(wg).x * 8u + (lane >> 3u), lane & 7u, lane);
}

// part[k] = (sum dy*xhat, sum dy) over the rows of block k: rows of a fixed logical size, so that the order of addition never changes.
@compute @workgroup_size(64)
fn backward_part(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = grid(wg);
    let g = at.y * 64u + lane;
    if g >= p.groups { return; }
    var ds = vec4<f32>(0.0);
    var db = vec4<f32>(0.0);
    let first = at.x * p.block;
    for (var row = first; row < min(first + p.block, p.rows); row++) {
        let s = stats_ld4(row);
        let d = dy_ld4(row * p.groups + g);
        ds = ds + d * (x_ld4(row * p.groups + g) - s.x) * s.y;
        db = db + d;
    }
    part_st4((at.x * 2u) * p.groups + g, ds * lanes(g, p.width));
    part_st4((at.x * 2u + 1u) * p.groups + g, db * lanes(g, p.width));
}
